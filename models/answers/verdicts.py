"""Extraction of the verdict from a judge's reply on the answers A and B. Pure.

A verdict is announced ("Verdict: B", "the better answer is A", `[[B]]`) or is the whole first or
last line; otherwise it is a sentence such as "A is better", or the beginning, as in "A, because
...". Contradictory verdicts, "A, B", and remarks such as "A: wrong year." are no verdict.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final, Literal

from colm.models.answers.characters import plain
from colm.models.answers.extraction import without_thought

#: unreadable: the reply has no verdict; counted apart.
Verdict = Literal["first", "second", "tie", "unreadable"]
#: Characters that are searched, at the beginning and the end of a reply.
MAX_READ: Final = 20_000
#: Characters of a line that can be a verdict.
MAX_LINE: Final = 80

_VERDICTS: Final[dict[str, Verdict]] = {"A": "first", "B": "second", "TIE": "tie", "DRAW": "tie"}
_NOUN = r"(?i:(?:(?:the\s+)?(?:answer|option|response|assistant|candidate|choice)\s+)?)"
_NAME = r"(?:A|B|(?i:tie|draw))"
_MARKS = r"[\s*_\"'`(\[{:<>]{0,12}"
#: Not followed by another answer or by a negation.
_END = (
    r"(?!\w|'\w|\s?(?:[,/&+]|and|or|vs\.?)\s*(?:(?i:answer)\s+)?(?:[AB]|(?i:tie))(?!\w)"
    r"|\s+(?:(?:is|was)\s+)?(?:not|wrong|incorrect|worse)(?!\w))"
)
_STATEMENT = (
    r"(?i:\b(?:verdict|winner|judge?ment|decision|choice|better(?: answer| one| response)?"
    r"|best(?: answer)?|(?:final|my|overall) answer)\b[*_\"'`)\]]{0,4}\s?(?::|=|\bis\b|-)"
    r"|\bi (?:choose|pick|prefer|vote for|select)\b)"
)
_ANNOUNCED = (
    re.compile(rf"{_STATEMENT}{_MARKS}{_NOUN}(?i:a )?{_MARKS}({_NAME}){_END}"),
    re.compile(rf"\[\[\s*({_NAME})\s*\]\]"),
    re.compile(rf"\\boxed\s?\{{\s*(?:\\text\s?\{{)?\s*({_NAME})\s*\}}"),
    re.compile(rf"<(?:verdict|answer|choice|winner)>\s*({_NAME})\s*</"),
    re.compile(rf"^[^\w\n]{{0,12}}(?i:answer)\s?:{_MARKS}({_NAME})[^\w\n]{{0,12}}$", re.M),
)
_ALONE = re.compile(rf"\W*{_NOUN}([ABab]|(?i:(?:it'?s |it is |a |the )*(?:tie|draw)))\W*")
_OPENING = re.compile(
    rf"\W*{_NOUN}(A|B|(?i:tie))(?:\W*[.:,;]|\s+-|\s+(?=because|since|as\b))(?P<reason>.*)", re.S
)
_BETTER = re.compile(
    r"(?:^|[.!?;:,\n]\s{0,4}|(?i:\b(?:so|that|think|therefore|thus|hence|and|but|overall)\s))"
    rf"{_MARKS}{_NOUN}{_MARKS}(A|B)[)\]*\"'`]{{0,4}}\s+"
    r"(?i:is\s+(?:clearly\s+|slightly\s+|much\s+|the\s+){0,3}better|wins)(?![^.\n]{0,20}\?)",
    re.M,
)
_TIED = re.compile(
    r"\b(?:it'?s|it is|this is|i call it|they)\s+(?:a\s+)?(?:tied?|draw)(?!\w)"
    r"|\b(?:both|they|the two|the answers)\s+are\s+(?:equally\s+\w+|equal)\b",
    re.I,
)
_REMARK = re.compile(
    r"(?:^|[.;]\s)[^\w\n]{0,12}(?i:answer\s+|option\s+|response\s+)?([AB])\s?(?:[:.)\-]|\s-\s)\s?\S",
    re.M,
)
_AGAINST = re.compile(
    r"\b(?:wrong|incorrect|not|false|errors?|mistakes?|mistaken|missing|misses|lacks|fails|bad|worse"
    r"|poor|vague|inaccurate|incomplete|no)\b|n't\b",
    re.I,
)


def read_verdict(reply: str) -> Verdict:
    """The verdict on the answers A (first) and B (second); unreadable if none or contradictory."""
    part = without_thought(reply)
    if part is None:
        return "unreadable"
    text = plain(
        part if len(part) <= MAX_READ else f"{part[: MAX_READ // 2]}\n{part[-MAX_READ // 2 :]}"
    )
    for read in _READERS:
        if verdicts := set(read(text.strip())):
            return verdicts.pop() if len(verdicts) == 1 else "unreadable"
    return "unreadable"


def _announced(text: str) -> Iterator[Verdict]:
    """Announced verdicts, and the first and last line if they are only a verdict. Other verdicts on
    lines between are headings, and then the first line is one too."""
    for pattern in _ANNOUNCED:
        yield from (_VERDICTS[name.upper()] for name in pattern.findall(text))
    lines = [_ALONE.fullmatch(line[:MAX_LINE]) for line in text.splitlines() if line.strip()]
    verdicts = [_VERDICTS[match[1].split()[-1].upper()] if match else None for match in lines]
    first, *between = verdicts or [None]
    if between and (last := between.pop()):
        yield last
    if first and not ({*between} - {None, first}):
        yield first


def _sentences(text: str) -> Iterator[Verdict]:
    yield from (_VERDICTS[name] for name in _BETTER.findall(text))
    if _TIED.search(text):
        yield "tie"


def _opening(text: str) -> Iterator[Verdict]:
    """A verdict at the beginning, before its reason, unless the reply discusses each answer in turn
    or the reason is against the answer."""
    match = _OPENING.match(text)
    if match is None or len({remark[1] for remark in _REMARK.finditer(text)}) > 1:
        return
    reason = match["reason"].strip()
    first = re.split(r"[.!?\n]", reason, maxsplit=1)[0]
    states_reason = re.match(r"(?:because|since|as|it|the|this)\b", reason, re.I)
    if re.match(r"(?:answer\s+)?[AB]\b|tie\b", reason, re.I) or (
        _AGAINST.search(first) and not states_reason
    ):
        return
    yield _VERDICTS[match[1].upper()]


_READERS: Final[tuple[Callable[[str], Iterator[Verdict]], ...]] = (
    _announced, _sentences, _opening,
)  # fmt: skip
