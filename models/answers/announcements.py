r"""Where a text says what its answer is. Pure.

An announcement is firm where it is made for reading: `\boxed{...}`, `<answer>` tags, a field
"answer" of JSON, a line that begins with "Answer:". "The answer is ..." within a text is another.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Final, NamedTuple

from colm.models.answers.languages import GAP, HEADING, RUN_ON, said_in
from colm.models.answers.sentences import FEW, is_asked, sentence

#: Announcements of each sort that are looked at, from the last.
MAX_ANNOUNCED: Final = 8


class Announced(NamedTuple):
    """What is announced as the answer."""

    #: Where it begins in the text.
    start: int
    #: The sentence of it, the box, the field.
    text: str
    firm: bool
    #: Whether its end is marked, as that of a box is.
    closed: bool
    #: It and all that follows on.
    rest: str


_AFTER = re.compile(r"[\s*_]{0,8}[:\uff1a]?[\s*_]{0,8}[,\u3001\uff0c]?\s{0,8}(?=\S)")
_LABELS = tuple(":=->\uff1a\uff1d\u2013\u2014\u2248\u2192\u21d2")
_LABEL_LINE = re.compile(r"[^\w\n]*(?:\w+[^\w\n]{1,2}){0,3}")
_TAG = re.compile(r"<((?:final_?)?answer)>|\[(answer)\]|<\|begin_of_box\|>", re.I)
_BOX = re.compile(r"\\(?:boxed|fbox|framebox)\s?(?:\{|(?=[\w\\-]))")
_BRACES = re.compile(r"\\[{}]|[{}]")
_NAMED = re.compile(r"[\"']\s*[:=]\Z")
_FIELD = re.compile(
    r"([\"'])(?P<text>(?:(?!\1)[^\\\n]|\\.){0,2000})\1"
    r"|(?P<bare>[^\n{}\[\]]{0,200}?)(?=,\s?[\"']|\s?\}|$)",
    re.M,
)
_HASHES = re.compile(r"(?<![^\s*])####(?!#)[ \t]*(\S.*)$", re.M)
_CORRECTED = re.compile(
    r"\b(?:wait|actually|correction|mistake|sorry|oops|re-?check|recalculate)\b", re.I
)


def announced(text: str) -> list[Announced]:
    """In the order of their places; the last of each sort."""
    said = list(_said(text))
    said = [one for one in said if one.firm or not is_asked(one.rest)] or said
    found = [*_boxed(text), *_tagged(text), *_headed(text), *said]
    return sorted(found, key=lambda one: (one.start, -len(one.text)))


def hashed(text: str, is_value: Callable[[str, bool], bool]) -> str | None:
    """What stands after `####` on its line, where that is a value by `is_value`, which is
    told whether it is the last line. The first counts, unless words between it and the next take it
    back: what follows an answer after hashes is no part of it."""
    last = len(text.rstrip())
    kept: re.Match[str] | None = None
    for found in _HASHES.finditer(text):
        if not is_value(found[1].strip(), found.end() >= last):
            continue
        if kept and not _CORRECTED.search(text, kept.end(), found.start()):
            break
        kept = found
    return kept[1].strip() if kept else None


def without_run_on(text: str, has_answer: Callable[[str], bool]) -> str:
    """`text` up to the next question that a model asks itself after an answer, which it announced,
    or which is a few words, or stands apart from the question."""
    for found in islice(RUN_ON.finditer(text), MAX_ANNOUNCED):
        head = text[: found.start()]
        apart = head.endswith("\n\n") or (found["asked"] and len(head.split()) <= FEW)
        told = apart or "####" in head or announced(head)
        if head.strip() and told and has_answer(head):
            return head
    return text


def _last(found: Iterable[re.Match[str]]) -> Sequence[re.Match[str]]:
    return sorted(found, key=lambda one: one.start())[-MAX_ANNOUNCED:]


def _said(text: str) -> Iterator[Announced]:
    for said in _last(said_in(text)):
        after = _AFTER.match(text, said.end())
        if after is None:
            continue
        line = text.rfind("\n", 0, said.start()) + 1
        field = _NAMED.search(said[0])
        label = said[0].rstrip(" *_").endswith(_LABELS) or after[0].strip(" *_\n") != ""
        at_start = said.start() - line <= GAP and _LABEL_LINE.fullmatch(text, line, said.start())
        rest = text[after.end() :]
        told = _field(rest) if field else sentence(rest)
        if told.rstrip().endswith((":", "\uff1a")):
            told = sentence(rest.partition("\n")[2])
        firm = bool(field or (label and at_start))
        if told.strip():
            yield Announced(after.end(), told, firm, bool(field), rest)


def _field(rest: str) -> str:
    """A value of JSON."""
    found = _FIELD.match(rest)
    if found is None:
        return sentence(rest)
    return found["bare"] if found["text"] is None else found["text"]


def _headed(text: str) -> Iterator[Announced]:
    for found in _last(HEADING.finditer(text)):
        rest = text[found.end() :]
        yield Announced(found.end(), sentence(rest), True, False, rest)


def _tagged(text: str) -> Iterator[Announced]:
    """What stands between tags; where they never close, its first sentence."""
    for found in _last(_TAG.finditer(text)):
        closing = (
            f"</{found[1]}>" if found[1] else f"[/{found[2]}]" if found[2] else "<|end_of_box|>"
        )
        told, closed, _ = text[found.end() :].partition(closing)
        told = told.strip() if closed else sentence(told)
        if told:
            yield Announced(found.end(), told, True, True, told)


def _boxed(text: str) -> Iterator[Announced]:
    """What stands between the braces, which may hold others; none where they never close."""
    for found in _last(_BOX.finditer(text)):
        told = (
            _braced(text, found.end()) if found[0].endswith("{") else _unbraced(text, found.end())
        )
        if told and told.strip():
            yield Announced(found.end(), told, True, True, told)


def _braced(text: str, start: int) -> str | None:
    depth = 1
    for brace in _BRACES.finditer(text, start):
        depth += (brace[0] == "{") - (brace[0] == "}")
        if not depth:
            return text[start : brace.start()]
    return None


def _unbraced(text: str, start: int) -> str:
    found = re.compile(r"\S{1,40}").match(text, start)
    return found[0].rstrip("$.,;)") if found else ""
