# ruff: noqa: RUF001 - letters of other alphabets are meant
"""Detection of negated answers ("not B") and of refusals ("I do not know"). Pure."""

from __future__ import annotations

import re
from typing import Final

from colm.models.answers.characters import ALNUM, JOINED

#: Characters of context before and after a mention.
AROUND: Final = 80
#: Placeholder of a mention.
_ONE: Final = "\ufffc"

_DENIAL = (
    r"not|never|none|neither|nor|cannot|\w{2,7}n't|no|without|except|excluding|unlike|exclude|eliminate"
    r"|rule out|reject|rather than|instead of|leave out|leaving out|omit|skip|avoid|drop|against"
    r"|nicht|kein(?:e|en|er)?|pas|ni|не|ни"
)
_IDIOMS = "no (?:doubt|question)|not only|nothing but|none other than|no other"
#: Words that end the scope of a negation.
_TURN = (
    "but|however|although|though|because|since|so|therefore|thus|hence|while|whereas|sondern|sino"
    "|mais|i|we|и"
)
_LIST = rf"{_ONE}[)\]]?(?:\s*,|\s+(?:and|or|nor|&))(?:\s+(?:and|or|nor))?"
_BEFORE = re.compile(
    rf"(?:(?<!{ALNUM})(?!{_IDIOMS})(?:{_DENIAL})(?!{JOINED})"
    rf"(?:\s+[(\[]?(?:{_LIST}|(?!(?:{_TURN})(?!{JOINED})|{_ONE})[^\s.,;:!?]+)){{0,5}}"
    r"\s+[(\[\"'*]{0,4}"
    r"|(?:不是|不选|不選|并非|非|不|排除)\s?[(\[]?)\Z",
    re.I,
)
_WRONG = (
    r"not|never|cannot|\w{2,7}n't|wrong|incorrect[oae]?|false|impossible|unlikely|excluded|eliminated"
    r"|ruled out|out|irrelevant|unsuited|unfit|nothing|no|little|a distractor|falsch|faux|fals[oa]"
    r"|неверн\w*"
)
_AFTER = re.compile(
    rf"[)\].*\"']{{0,4}}(?:(?:\s*(?:,|and\b|or\b|nor\b|&)\s*){{1,2}}[(\[]?{_ONE}[)\]]?)*[*\"']{{0,2}}"
    rf"\s*(?:are|were|do|have|sind|sont)\s+(?:\w+\s+)?(?:{_WRONG})(?!\w)"
    r"|[)\].*\"']{0,4}\s*(?:is|was|does|has|knows|would be|would|should|will|seems?|can be|can"
    rf"|must be|ist|est|es)\s+(?:\w+\s+)?(?:{_WRONG})(?!\w)"
    rf"|[)\].*\"']{{0,4}}(?:\s+(?:and|or|nor|&)\s+{_ONE})*\s*(?:\w{{2,7}}n't\b|cannot\b|lacks\b|[:-]\s*(?:wrong|incorrect|false)\b"
    r"|ではない|ではありません|じゃない|は誤り|は間違い|(?:이|가|은|는)\s?(?:아니|아닙|틀)"
    r"|不正确|不对|错|不是|是错)",
    re.I,
)
_REFUSAL = re.compile(
    r"\b(?:(?:do|does|did|could|would)(?: not|n't)|cannot|can ?not|can't|not|unable to"
    r"|impossible to|never) (?:\w+ )?"
    r"(?:know|sure|tell|say|determined?|decided?|answer(?:ed)?|certain|identify)\b"
    r"|\bno idea\b|\bunsure\b|\bno (?:way|answer)\b|\bno (?:lo )?s[eé]\b|\bje ne sais pas\b"
    r"|\bweiß (?:es |das )?nicht\b|\bне знаю\b|不知道|不确定|不確定|无法|無法|わかりません"
    r"|分かりません|모르|알 수 없",
    re.I,
)
_STOP = re.compile(r"[.!?;\n](?:\s|\Z)")


def is_denied(text: str, start: int, end: int, similar: re.Pattern[str]) -> bool:
    """Whether the sentence negates the mention: "not B", "B is wrong", "neither A nor B".

    `similar` matches other mentions that may be in a list with it.
    """
    before = _STOP.split(text[max(0, start - AROUND) : start])[-1]
    after = _STOP.split(text[end : end + AROUND], maxsplit=1)[0]
    return bool(_BEFORE.search(similar.sub(_ONE, before)) or _AFTER.match(similar.sub(_ONE, after)))


def is_refusal(text: str) -> bool:
    """Whether `text` refuses to answer: "I do not know"."""
    return _REFUSAL.search(text) is not None
