r"""Search for announcements of the answer in a text. Pure.

Firm announcements have a format: `\boxed{...}`, `<answer>` tags, a JSON field "answer", a line that
begins with "Answer:". Others are sentences such as "The answer is ...".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Final, NamedTuple

from colm.models.answers.languages import GAP, HEADING, RUN_ON, find_answer_phrases
from colm.models.answers.sentences import FEW, is_question, sentence

#: Announcements of each sort, from the last.
MAX_ANNOUNCED: Final = 8


class Announcement(NamedTuple):
    #: Position in the text.
    start: int
    #: Content of the box or field, or the sentence.
    text: str
    firm: bool
    #: Whether its end is marked, as by a closing brace.
    closed: bool
    #: `text` and all text after it.
    rest: str


_AFTER = re.compile(r"[\s*_]{0,8}[:\uff1a]?[\s*_]{0,8}[,\u3001\uff0c]?\s{0,8}(?=\S)")
_LABELS = tuple(":=->\uff1a\uff1d\u2013\u2014\u2248\u2192\u21d2")
_LABEL_LINE = re.compile(r"[^\w\n]*(?:\w+[^\w\n]{1,2}){0,3}")
_TAG = re.compile(r"<((?:final_?)?answer)>|\[(answer)\]|<\|begin_of_box\|>", re.I)
_BOX = re.compile(r"\\(?:boxed|fbox|framebox)\s?(?:\{|(?=[\w\\-]))")
_BRACES = re.compile(r"\\[{}]|[{}]")
_FIELD_NAME = re.compile(r"[\"']\s*[:=]\Z")
_FIELD = re.compile(
    r"([\"'])(?P<text>(?:(?!\1)[^\\\n]|\\.){0,2000})\1"
    r"|(?P<bare>[^\n{}\[\]]{0,200}?)(?=,\s?[\"']|\s?\}|$)",
    re.M,
)
_HASHES = re.compile(r"(?<![^\s*])####(?!#)[ \t]*(\S.*)$", re.M)
_CORRECTED = re.compile(
    r"\b(?:wait|actually|correction|mistake|sorry|oops|re-?check|recalculate)\b", re.I
)


def find_announcements(text: str) -> list[Announcement]:
    """The last MAX_ANNOUNCED of each sort, in the order of the text."""
    phrases = list(_stated(text))
    phrases = [item for item in phrases if item.firm or not is_question(item.rest)] or phrases
    announcements = [*_boxed(text), *_tagged(text), *_headed(text), *phrases]
    return sorted(announcements, key=lambda item: (item.start, -len(item.text)))


def hash_line_answer(text: str, is_value: Callable[[str, bool], bool]) -> str | None:
    """The text after `####` on its line (GSM8K), if `is_value(text, is_last_line)`.

    The first one counts, unless a correction ("wait", "actually") stands before the next.
    """
    last = len(text.rstrip())
    answer: re.Match[str] | None = None
    for match in _HASHES.finditer(text):
        if not is_value(match[1].strip(), match.end() >= last):
            continue
        if answer and not _CORRECTED.search(text, answer.end(), match.start()):
            break
        answer = match
    return answer[1].strip() if answer else None


def cut_run_on(text: str, has_answer: Callable[[str], bool]) -> str:
    """`text` up to the next question that the model generates after its answer."""
    for match in islice(RUN_ON.finditer(text), MAX_ANNOUNCED):
        head = text[: match.start()]
        apart = head.endswith("\n\n") or (match["asked"] and len(head.split()) <= FEW)
        is_answer = apart or "####" in head or find_announcements(head)
        if head.strip() and is_answer and has_answer(head):
            return head
    return text


def _last(matches: Iterable[re.Match[str]]) -> Sequence[re.Match[str]]:
    return sorted(matches, key=lambda match: match.start())[-MAX_ANNOUNCED:]


def _stated(text: str) -> Iterator[Announcement]:
    for phrase in _last(find_answer_phrases(text)):
        after = _AFTER.match(text, phrase.end())
        if after is None:
            continue
        line = text.rfind("\n", 0, phrase.start()) + 1
        field = _FIELD_NAME.search(phrase[0])
        label = phrase[0].rstrip(" *_").endswith(_LABELS) or after[0].strip(" *_\n") != ""
        at_start = phrase.start() - line <= GAP and _LABEL_LINE.fullmatch(
            text, line, phrase.start()
        )
        rest = text[after.end() :]
        answer = _field(rest) if field else sentence(rest)
        if answer.rstrip().endswith((":", "\uff1a")):
            answer = sentence(rest.partition("\n")[2])
        firm = bool(field or (label and at_start))
        if answer.strip():
            yield Announcement(after.end(), answer, firm, bool(field), rest)


def _field(rest: str) -> str:
    match = _FIELD.match(rest)
    if match is None:
        return sentence(rest)
    return match["bare"] if match["text"] is None else match["text"]


def _headed(text: str) -> Iterator[Announcement]:
    for heading in _last(HEADING.finditer(text)):
        rest = text[heading.end() :]
        yield Announcement(heading.end(), sentence(rest), True, False, rest)


def _tagged(text: str) -> Iterator[Announcement]:
    """Contents of tags; the first sentence after an unclosed tag."""
    for tag in _last(_TAG.finditer(text)):
        closing = f"</{tag[1]}>" if tag[1] else f"[/{tag[2]}]" if tag[2] else "<|end_of_box|>"
        answer, closed, _ = text[tag.end() :].partition(closing)
        answer = answer.strip() if closed else sentence(answer)
        if answer:
            yield Announcement(tag.end(), answer, True, True, answer)


def _boxed(text: str) -> Iterator[Announcement]:
    for box in _last(_BOX.finditer(text)):
        answer = _braced(text, box.end()) if box[0].endswith("{") else _unbraced(text, box.end())
        if answer and answer.strip():
            yield Announcement(box.end(), answer, True, True, answer)


def _braced(text: str, start: int) -> str | None:
    depth = 1
    for brace in _BRACES.finditer(text, start):
        depth += (brace[0] == "{") - (brace[0] == "}")
        if not depth:
            return text[start : brace.start()]
    return None


def _unbraced(text: str, start: int) -> str:
    match = re.compile(r"\S{1,40}").match(text, start)
    return match[0].rstrip("$.,;)") if match else ""
