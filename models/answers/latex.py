r"""Normalization of LaTeX formulas before comparison. Pure, without SymPy."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final

from colm.models.answers.characters import (
    SUPERSCRIPTS,
    VULGAR,
    ascii_digits,
    composed,
    vulgar_fraction,
)
from colm.models.answers.numerals import NUMBER, strip_markup, value

#: Unicode signs and their LaTeX commands.
_SIGNS: Final = {
    **dict.fromkeys("\u2212\u2013\u2014\u2010\u2011", "-"),
    "\u00b0": "", "\u2032": "'", "\u2019": "'",
    "\u00d7": r"\times ", "\u00b7": r"\cdot ", "\u22c5": r"\cdot ", "\u00f7": r"\div ",
    "\u00b1": r"\pm ", "\u03c0": r"\pi ", "\u221e": r"\infty ",
    "\u2264": r"\le ", "\u2265": r"\ge ",
    "\u2260": r"\ne ", "\u2205": r"\emptyset ", "\u2208": r"\in ", "\u222a": r"\cup ",
    "\u2229": r"\cap ", "\u211d": r"\mathbb{R}", "\u2026": r"\ldots ", "\u22ef": r"\ldots ",
    "\u03b8": r"\theta ", "\u03b1": r"\alpha ", "\u03b2": r"\beta ", "\u03bb": r"\lambda ",
    "\uff0c": ",", "\uff1d": "=", "\u3001": ",", "\uff0b": "+", "\uff08": "(", "\uff09": ")",
}  # fmt: skip
_SIGN = re.compile("|".join(map(re.escape, _SIGNS)))
_LOWERED = re.compile("[\u2080-\u2089]+")
_RAISED = re.compile(f"[\u207a\u207b{SUPERSCRIPTS}]+")
_ROOT = re.compile(r"\u221a\s?(?:\(([^()]*)\)|(\w+))")
_AROUND = re.compile(
    r"\A[\s*]*(?:\$\$?|\\\(|\\\[)?\s*|[\s.,;:*]*(?:\$\$?|\\\)|\\\])?[\s.,;:*]*\Z", re.S
)
_FUNCTIONS = "sin|cos|tan|cot|sec|csc|ln|log|exp|arcsin|arccos|arctan"
_ALL_TEXT = re.compile(r"\\(?:text(?:bf|it|rm|normal)?|mathrm|mbox)\s?\{\s*([^{}]*?)\s*\}")
_STEPS: Final[tuple[tuple[re.Pattern[str], str], ...]] = tuple(
    (re.compile(pattern), new)
    for pattern, new in (
        (r"\\(?:left|right|displaystyle|textstyle|limits|[bB]igg?[lr]?)(?![a-zA-Z])\.?", ""),
        (r"\{,\}(?=\d{3}(?!\d))|\\!|\\\$|(?<=\d)\\,(?=\d{3}(?!\d))", ""),
        (r"(?<=\d)\{,\}(?=\d)", "."),
        (r"(?<!\\)\\[,;: ]|\\q?quad(?![a-zA-Z])|~|\\thinspace", " "),
        (r"\^\s?\{?\s?\\(?:circ|degree)\s?\}?|\\degree", ""),
        (r"\\(?:d|t|c|nice|s)frac", r"\\frac"),
        (r"\*\*", "^"),
        (r"\*", r"\\cdot "),
        (rf"(?<![\\a-zA-Z{{])(sqrt|pi|theta|{_FUNCTIONS})(?![a-zA-Z])", r"\\\1 "),
        (r"\\sqrt\s?\(([^()]*)\)", r"\\sqrt{\1}"),
        (r"\\(?:text|mathrm|mathit|operatorname)\s?\{\s*([eid])\s*\}", r"\1"),
        (rf"\\operatorname\s?\{{({_FUNCTIONS})\}}", r"\\\1 "),
        (r"\\(?:math(?:bf|it|sf|cal)|boldsymbol|bm)\s?\{([^{}]*)\}", r"\1"),
        (r"\\varnothing|\\\{\s*\\\}|\\empty(?!set)", r"\\emptyset"),
        (r"\\l?dots[cbmio]?(?![a-zA-Z])|\\cdots", r"\\ldots "),
        (r"\\(le|ge|ne)q(?![a-zA-Z])", r"\\\1"),
        (r"\\lbrace(?![a-zA-Z])", r"\\{"),
        (r"\\rbrace(?![a-zA-Z])", r"\\}"),
        (r"\s*(?:,\s*)?\\text\s?\{\s*(?:and|or|und|oder)\s*\}\s*|\s+(?:and|or)\s+", ", "),
        (r"\\(?:mbox|mathrm|text(?:normal|bf|it|rm|sf|tt))(?![a-zA-Z])", r"\\text"),
        (r"(?<=[A-Za-z])'(?!')", "_{prime}"),
        (r"\\%", "%"),
    )
)  # fmt: skip
_UNIT_WORDS = (
    r"(?:[a-z]{4,}|cm|mm|km|kg|mg|ml|mi|ft|in|yd|lb|lbs|oz|hr|hrs|min|sec|mph|rpm|Hz|Pa|mol|cal|eV)"
)
_TEXT_UNIT = re.compile(
    r"(?<=[\w)}\]!%])\s*\\text\s?\{([^{}]*)\}\s*(?:\^\s?(?:\{\s?-?\d\s?\}|-?\d))?\s*\Z"
)
_PLAIN_UNIT = re.compile(
    rf"(?<=\d)\s+(?:(?:square|cubic|sq\.?|cu\.?)\s+)?{_UNIT_WORDS}"
    r"(?:\s?/\s?[a-z]{1,6}|\s[a-z]{2,}){0,2}"
    r"(?:\^\s?(?:\{\s?-?\d\s?\}|-?\d))?\s*\Z"
)
_BASED = re.compile(r"\(?(\d[0-9A-Z]*|(?<=\()[0-9A-Z]+)\)?_(?:\{(\d{1,2})\}|(\d{1,2}))(?!\d)")
_GROUPS = re.compile(r"[-+$\s]*(?!0)(?:\d{1,3}(?:,\d{3})+|\d{1,2}(?:,\d{2}){1,10},\d{3})(?!\d|,)")


def normalize_formula(text: str) -> str:
    r"""`text` with canonical commands, without dollar signs, units and spacing."""
    text = _AROUND.sub("", composed(text).replace("...", "\u2026"))
    if worded := _ALL_TEXT.fullmatch(text):
        text = worded[1]
    text = re.sub(
        f"[{VULGAR}]",
        lambda m: r"\frac{{{}}}{{{}}}".format(*vulgar_fraction(m[0]).split("/")),
        text,
    )
    text = _RAISED.sub(lambda m: f"^{{{ascii_digits(m[0])}}}", text)
    text = _LOWERED.sub(lambda m: f"_{{{ascii_digits(m[0])}}}", text)
    text = _ROOT.sub(lambda m: rf"\sqrt{{{m[1] or m[2]}}}", text)
    text = _SIGN.sub(lambda m: _SIGNS[m[0]], text)
    for pattern, new in _STEPS:
        text = pattern.sub(new, text)
    return _bases_to_decimal(_strip_unit(text)).strip()


def _strip_unit(text: str) -> str:
    """`text` without a unit at its end, after a number or bracket."""
    for pattern in (_TEXT_UNIT, _PLAIN_UNIT):
        shorter = pattern.sub("", text)
        text = shorter if shorter.strip() else text
    return text


def _bases_to_decimal(text: str) -> str:
    r"""Numbers of other bases in decimal: `101_2` as `5`."""

    def decimal(match: re.Match[str]) -> str:
        base = int(match[2] or match[3])
        try:
            return str(int(match[1], base)) if 2 <= base <= 36 else match[0]
        except ValueError:
            return match[0]

    return _BASED.sub(decimal, text) if len(text) <= 1_000 else text


def canonical_text(text: str) -> str:
    """A formula without redundant spaces and braces, for comparison as text."""
    text = re.sub(r"(\\[a-zA-Z]+)\s+(?=[a-zA-Z])", r"\1\0", text)
    text = re.sub(r"\s+", "", text)
    return re.sub(r"(?<=[\^_])\{([A-Za-z0-9])\}", r"\1", text)


def unwrap_text(text: str) -> str:
    r"""`text` with the contents of `\text{...}` unwrapped."""
    return re.sub(r"\\text\s?\{([^{}]*)\}", r"\1", text)


def formula_values(text: str) -> tuple[Fraction, ...]:
    """The possible values of a number, 25 and 1/4 for `25%`; empty for other formulas and lists."""
    written = strip_markup(text).strip()
    percent = written.endswith("%")
    written = written.rstrip("% ")
    if "," in written and not _GROUPS.match(written):
        return ()
    match = NUMBER.fullmatch(written)
    number = None if match is None else value(match)
    if number is None:
        return ()
    return (number, number / 100) if percent else (number,)
