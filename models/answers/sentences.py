# ruff: noqa: RUF001 - letters of other alphabets are intended
"""Sentence segmentation of answers. Pure."""

from __future__ import annotations

import re
from typing import Final

from colm.models.answers.characters import JOINED

#: Characters of context before and after a full stop.
BEFORE: Final = 24
AFTER: Final = 120
#: Words after an abbreviation that may belong to a name.
FEW: Final = 4

_STOP = re.compile(
    r"(?<=[^\s.])\.(?=[\s\"'\u201d\u2019)\]]|$)|(?:\?|(?<![\d)])!|!(?=\s+[^\W\d_]))(?=[\s\"'\u201d)]|$)"
    r"|[;\uff1b](?=\s|[^\x00-\x7f])|[\u3002\uff01\uff1f\uff0e\u0964\u06d4\u061f]|</|<\|"
)
_LAST_WORD = re.compile(rf"(?:{JOINED}|\.)+\Z")
#: Abbreviations before a name or number: the sentence goes on.
_TITLES = """
av ee uu st ste sta dr mr mrs ms mx prof mt ft gen col maj capt lt sgt cpl rev hon pres gov sen
rep rt messrs mme mlle sr sra srta dra fr hr dn vs viz cf approx ca bzw nr núm no nos vol vols fig
figs eq eqs sec ch pp pg art арт ул г им св
"""
#: Abbreviations after which it may go on or end.
_SHORTENED = """
jr inc ltd co corp bros ave blvd rd jan feb mar apr jun jul aug sep sept oct nov dec etc al dept
univ assn est min max sq cu oz lb lbs ft in hr hrs sec tel ext zb usw
"""
_INITIALS = re.compile(r"(?:[^\W\d_]{1,2}\.)+[^\W\d_]{1,2}")
#: Words that begin sentences, but not names.
_OPENERS = """
a all also although an and as at because both but by each explanation for from given he hence here
however i if in it its let my note now of on option options other our reason she since so that the
their then there therefore these they this those thus to we when where which while with you your
answer according
"""
TITLES, SHORTENED, OPENERS = (frozenset(words.split()) for words in (_TITLES, _SHORTENED, _OPENERS))
#: Abbreviations before a number.
NUMBERED = frozenset(["no", "nos", "nr", "núm", "fig", "eq", "vol", "sec", "pp", "ch"])
_REASONS = frozenset(["because", "since", "so", "therefore"])
#: Words of a clause that items of a list do not have.
_CLAUSE = re.compile(
    r"\b(?:is|are|was|were|be|been|has|have|had|do|does|did|can|could|will|would|should|must|may|says?"
    r"|said|means?|because|since|so|therefore|thus|it|this|that|he|she|they|we|i|you|there|which|not"
    r"|if|all|however|es|ist|est|son|sind|sont|è)\b|n't\b|是|因为|所以|です|ます|입니다",
    re.I,
)


def sentence(text: str) -> str:
    """The first sentence of `text`, at most its first line. "St. Louis", "No. 5", "U.S. Navy" and
    "apples; pears" do not end one."""
    line = text.lstrip().partition("\n")[0]
    for stop in _STOP.finditer(line):
        if _ends_sentence(line, stop):
            return line[: stop.start()]
    return line


def is_question(text: str) -> bool:
    line = text.lstrip().partition("\n")[0]
    return line[len(sentence(text)) :].startswith(("?", "\uff1f"))


def _ends_sentence(line: str, stop: re.Match[str]) -> bool:
    after = line[stop.end() : stop.end() + AFTER].lstrip()
    if stop[0] in ";\uff1b":
        return bool(_CLAUSE.search(re.split("[;\uff1b.]", after, maxsplit=1)[0]))
    if stop[0] == "!" and (after[:1].islower() or after.split(".")[0].lower() in SHORTENED):
        return _is_clause(after)
    if stop[0] != "." or not after:
        return True
    word = _LAST_WORD.search(line, max(0, stop.start() - BEFORE), stop.start())
    return word is None or _ends_after(word[0], after)


def _ends_after(word: str, after: str) -> bool:
    """Whether the stop between `word` and `after` ends the sentence."""
    plain = word.casefold()
    first = re.match(r"[\"'(\u201c\u201d\u2019)\]]*([^\W_]*)", after)
    follows = first[1] if first else ""
    if plain in NUMBERED:
        return not follows[:1].isdigit() or _is_clause(after)
    if plain in TITLES:
        return False
    if follows.casefold() in OPENERS and (follows[0].isupper() or follows in _REASONS):
        return True
    if _INITIALS.fullmatch(word) or plain in SHORTENED:
        return False
    if len(word) == 1 and word.isalpha() and follows:
        if follows[0].isdigit() or re.match(r"\w\.", after):
            return False
        return _is_clause(after) or not (follows[0].isupper() or word.isupper())
    return True


def _is_clause(after: str) -> bool:
    """Whether `after` is a clause, or too long for the rest of a name."""
    rest = re.split(r"[.!?;](?:\s|$)", after, maxsplit=1)[0]
    return len(rest.split()) > FEW or bool(_CLAUSE.search(rest))
