"""Reading of a judge's reply: which of two answers it finds better. Pure.

A verdict is announced ("Verdict: B", "[[B]]", "B is better"), or it is a line of its own. Remarks
on each answer ("A: wrong year.") are none. Two verdicts that differ are unreadable: nobody guesses.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from models.thoughts import split_thought

#: unreadable: the reply names no verdict. That is counted apart, and is never guessed at.
Verdict = Literal["first", "second", "tie", "unreadable"]

_EDGE = r"[\s*_`\"'\u201c\u201d\u2018\u2019()\[\]{}<>#>|.,:;!-]*"
_NOUN = r"(?:(?:the\s+)?(?:answer|response|reply|option|assistant|candidate)\s+)?"
_TIE = (
    r"(?:(?:it|this|that)(?:['\u2019]s|\s+is)\s+)?(?:a\s+)?(?P<tie>tied?|draw)\b"
    r"|(?P<equal>(?:both|they|the\s+two)(?:\s+answers)?(?:\s+are)?\s+equal(?:ly\s+\w+)?"
    r"|neither(?:\s+answer)?\s+is\s+better)\b"
)
_LABEL = (
    r"\b(?:verdict|decision|winner|judge?ment|conclusion|preference|choice|final\s+answer|result"
    r"|(?:better|best|preferred)(?:\s+(?:answer|response|reply|option|one))?)"
    r"[*_`\"']*\s*(?:\s+is:?\s+|\s*[:=\u2013\u2014-]+)[\s*_`\"']*"
)
_BETTER = (
    r"(?:is|was)\s+(?:clearly\s+|slightly\s+|much\s+)?(?:the\s+)?"
    r"(?:better|best|stronger|superior|preferable|winner)\b|\bwins\b"
)

#: A label with its verdict, up to the end of the sentence; marks that judges are known to use.
_ANNOUNCED = (
    re.compile(rf"(?i:{_LABEL})(?:(?i:{_NOUN})[\[(\"'*_`{{]*\b(?P<letter>[AB])\b|(?i:{_TIE}))"
               r"(?=\W*(?:$|\n|[.;,!]|\s(?:because|since|as)\b))", re.MULTILINE),
    re.compile(r"\[\[(?P<letter>[AB])\]\]|\\boxed\{(?:\\text\{)?(?P<boxed>[AB])\}"),
    re.compile(r"\[\[(?P<tie>(?i:tie|c))\]\]"),
    re.compile(r"\"(?i:verdict|winner|answer|better)\"\s*:\s*\"(?:(?P<letter>[AB])|(?P<tie>(?i:tie)))\""),
)  # fmt: skip
#: A line that is nothing but a verdict.
_LINE = re.compile(rf"{_EDGE}(?:(?i:{_NOUN})[\[(\"'*_`{{]*\b(?P<letter>[AB])\b|(?i:{_TIE})){_EDGE}")
_LONE_LETTER = re.compile(rf"{_EDGE}(?P<letter>[ab]){_EDGE}")
#: A verdict and then its reason; a fault in the reason makes it a remark.
_REASONED = re.compile(
    rf"{_EDGE}(?i:{_NOUN})(?P<letter>[AB])\b[*_`\"')\]]*"
    r"(?:\s*[:.;\u2013\u2014-]+\s+|,?\s+(?=because|since|as\b))(?P<reason>\S.*)",
    re.DOTALL,
)
_FAULT = re.compile(
    r"\b(?:wrong|incorrect|mistak\w+|errors?|false|fails?|worse|weaker|bad|miss\w+|inaccurate|not"
    r"|\w+n['\u2019]t|lacks?|no)\b",
    re.IGNORECASE,
)
_SAID_BETTER = (
    re.compile(rf"(?i:{_NOUN})[*_`\"(\[]*\b(?P<letter>[AB])\b[*_`\")\]]*\s+(?i:{_BETTER})"),
    re.compile(r"\b(?i:prefer|choose|pick|select|go\s+with|vote\s+for)\s+(?i:the\s+)?"
               r"(?i:answer\s+|response\s+|option\s+)?[*_`\"(\[]*(?P<letter>[AB])\b"),
    re.compile(rf"(?i:{_TIE})"),
)  # fmt: skip
_NEGATED = re.compile(
    r"(?:\b(?:not|never|cannot|neither|nor)|n['\u2019]t)\b[^.\n]{0,20}$", re.IGNORECASE
)


def read_verdict(reply: str) -> Verdict:
    """The verdict in a reply on the answers A and B, in the order that the judge had read them."""
    _, text = split_thought(reply)
    for verdicts in (_announced(text), _lines(text), _reasoned(text), _said_better(text)):
        if found := set(verdicts):
            return found.pop() if len(found) == 1 else "unreadable"
    return "unreadable"


def _announced(text: str) -> Iterator[Verdict]:
    for form in _ANNOUNCED:
        for found in form.finditer(text):
            if not _NEGATED.search(text, 0, found.start()):
                yield _meaning(found)


def _lines(text: str) -> list[Verdict]:
    """Verdicts that are lines of their own, if the first or the last line is one."""
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) == 1 and (alone := _LONE_LETTER.fullmatch(lines[0])):
        return ["first" if alone["letter"] == "a" else "second"]
    read = [_LINE.fullmatch(line) for line in lines]
    if not read or not (read[0] or read[-1]):
        return []
    return [_meaning(found) for found in read if found]


def _reasoned(text: str) -> Iterator[Verdict]:
    found = _REASONED.fullmatch(text.strip())
    if found is None or _FAULT.search(found["reason"]):
        return
    other = "B" if found["letter"] == "A" else "A"
    if not re.search(rf"\b{other}\b", found["reason"]):
        yield _meaning(found)


def _said_better(text: str) -> Iterator[Verdict]:
    for form in _SAID_BETTER:
        for found in form.finditer(text):
            if not _NEGATED.search(text[: found.start()]):
                yield _meaning(found)


def _meaning(found: re.Match[str]) -> Verdict:
    told = found.groupdict()
    letter = told.get("letter") or told.get("boxed")
    if letter is None:
        return "tie"
    return "first" if letter == "A" else "second"
