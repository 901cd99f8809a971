# ruff: noqa: RUF001 - digits and words of other scripts are intended
r"""Parser of numbers in plain text, Markdown and LaTeX. Pure.

`strip_markup` removes markup, `NUMBER` matches a number, and `number` returns its value: signs as
dashes or words, groups (`1,234`, `12 000`, `1'234`, `1,00,000`, `1.234,56`), decimal points and
commas, fractions (`1/2`, `½`, `2 1/2`), powers (`10^3`, `3 x 10^8`, `3e8`) and magnitudes (`1.5
million`, `3万`). Numbers inside of other expressions do not match: the 16 of `\sqrt{16}`, the 3 of
`3\pi`, the 2 of `cm^2`, the 5 of `x_5`.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from fractions import Fraction
from math import isqrt
from typing import Final

from colm.models.answers.characters import (
    ALNUM,
    DASHES,
    JOINED,
    SPACE,
    SUPERSCRIPTS,
    VULGAR,
    ascii_digits,
    vulgar_fraction,
)

#: Longer numbers and larger powers have no value here.
MAX_DIGITS: Final = 4_000
MAX_POWER: Final = 1_000
#: Placeholder of a part of a formula that is no number.
OPAQUE: Final = "\ufffc"
#: It, pi, and the root sign.
OPAQUE_IN: Final = re.compile(f"[{OPAQUE}\u03c0\u221a]")

_GROUPED = "|".join(
    rf"(?:{separator}\d{{3}})+(?!\d|-[A-Za-z]){decimals}"
    for separator, decimals in (
        (",", r"(?:[.\u066b]\d+)?"),
        ("\u066c", r"(?:[.\u066b]\d+)?"),
        (SPACE, r"(?:[.,]\d+)?"),
        ("['\u2019]", r"(?:[.,]\d+)?"),
        ("_", r"(?:\.\d+)?"),
    )
)
_DECIMAL = (
    rf"(?>(?!0)\d{{1,3}}(?:{_GROUPED})"
    r"|\d{1,2}(?:,\d{2}){1,10},\d{3}(?!\d)(?:\.\d+)?"
    r"|(?!0)\d{1,3}(?:\.\d{3}){2,}(?!\d)(?:,\d+)?"
    r"|(?!0)\d{1,3}(?:\.\d{3}){1,40},\d+"
    r"|(?<![\d,(\[{])\d+,\d+(?!\d|,\d|[)\]}])"
    r"|\d+(?:[.\u066b]\d+)?|\.\d+)"
)
_EXPONENT = rf"(?:\{{{SPACE}?[+{DASHES}]?\d+{SPACE}?\}}|\([+{DASHES}]?\d+\)|[+{DASHES}]?\d+)"
_ORDINALS: Final = {
    "second": "2", "third": "3", "fourth": "4", "fifth": "5", "sixth": "6", "seventh": "7",
    "eighth": "8", "ninth": "9", "tenth": "10", "twelfth": "12", "squared": "2", "cubed": "3",
}  # fmt: skip
_POWER = (
    rf"(?:{SPACE}?(?:\^|\*\*){SPACE}?{_EXPONENT}(?![\d^]|[.,/]\d|\*\*)"
    rf"|[\u207a\u207b]?[{SUPERSCRIPTS}]+"
    rf"|{SPACE}(?i:(?:raised{SPACE})?to{SPACE}the{SPACE}(?:power{SPACE}(?:of{SPACE})?)?"
    rf"(?:minus{SPACE}|negative{SPACE}|[{DASHES}])?(?:\d+(?:st|nd|rd|th)?|{'|'.join(_ORDINALS)})"
    rf"(?:{SPACE}power)?)|{SPACE}(?i:squared|cubed)(?!{JOINED}))"
)
_TIMES = rf"{SPACE}{{0,2}}(?:[xX*\u00d7\u00b7\u22c5\u2219\u2715\u2716]|times){SPACE}{{0,2}}"
#: Words for powers of ten, by their exponent.
_WORDS: Final = {
    2: "hundred|hundert|cientos?",
    3: "thousand|mille|mil|tausend|mila|тысяч[аи]?|тыс\\.?|千(?![克米瓦卡字赫帕伏])|천|हज़ार",
    4: "万|萬|만",
    5: "lakhs?|lacs?",
    6: "millions?|million(?:en|i|er)|millón|millon(?:es)?|milhão|milhões|milion(?:i|y|ów)?"
    "|mln|mio\\.?|миллион(?:а|ов)?|млн|百万",
    7: "crores?",
    8: "亿|億|억",
    9: "billions?|milliards?|milliarden?|miliardi?|miliard(?:y|ów)?|mrd\\.?|миллиард(?:а|ов)?|млрд",
    12: "trillions?|billionen|billones|триллион(?:а|ов)?|трлн|兆",
}
_HAN = r"(?:[十百千万萬亿億兆]|[백천만억조])(?![克米瓦卡字赫帕伏分])"
_HAN_POWERS: Final = dict(
    zip("十百千万萬亿億兆백천만억조", [1, 2, 3, 4, 4, 8, 8, 12, 2, 3, 4, 8, 12], strict=True)
)
_LETTERS: Final = {"k": 3, "m": 6, "mn": 6, "mm": 6, "b": 9, "bn": 9, "t": 12, "tn": 12}
_MAGNITUDE = rf"(?:{SPACE}{{0,2}}-?(?i:{'|'.join(_WORDS.values())})(?!{JOINED}))"
_MINUS = "minus|negative|moins|menos|meno|минус|负|負|マイナス|마이너스|零下|영하|ऋण"
_CURRENCY = (
    r"(?:(?:US|A|C|R|HK|NT|S|NZ)?[$\uff04]|[\u20ac\u00a3\u00a5\u20b9\u20a9\u20bd\u0e3f\u20ab\u20aa\u20ba]"
    r"|Rs\.?|(?:USD|EUR|GBP|INR|JPY|CNY|CHF)(?= ?\d))"
)
_SIGN = (
    rf"(?:(?<![\w)\]}}%{OPAQUE}])[+{DASHES}]"
    rf"|(?:(?<=[=(])|(?<=[=(] ))[{DASHES}] (?=[$\d])"
    rf"|(?<!{ALNUM})(?<!\d\s)(?i:{_MINUS}){SPACE}?)"
)
_BEFORE = (
    rf"(?<!{JOINED})(?<![\^\u221a\u00b1{OPAQUE}])(?<!{OPAQUE} )(?<!\u00b1 )(?<!\d[./])"
    rf"(?<!\^[{{({DASHES}])(?<!\^\{{[{DASHES}])(?<!_\{{)"
)
_AFTER = (
    rf"(?!\d|[{SUPERSCRIPTS}]|_\{{?{ALNUM}|{SPACE}?(?:[{OPAQUE}\u221a\u03c0]|\^|\*\*(?={JOINED}|[({{])"
    rf"|(?i:pi)(?!{JOINED}))|{SPACE}?[/\u2044\u2215]{SPACE}?\d|i(?!{JOINED})"
    rf"|{SPACE}?[xyznab](?:[.,;]?\s*\Z|[.,;]\s)"
    rf"|[xyznab]{SPACE}?[=^)+*/{DASHES}]|{SPACE}[xyznab]{SPACE}?[=^)+*/])"
)
_SLASH = rf"{SPACE}?[/\u2044\u2215]{SPACE}?"
_NUMBER = rf"""
{_BEFORE}(?P<sign>{_SIGN})?(?:(?P<currency>{_CURRENCY}){SPACE}?(?P<inner>[{DASHES}])?)?(?>
  (?P<whole>\d+)?{SPACE}?(?P<vulgar>[{VULGAR}])
 |(?P<han>(?:\d+(?:\.\d+)?{_HAN}+){{1,4}}(?:\d+(?!\.?\d))?)
 |(?P<first>{_DECIMAL})(?:
    (?:{SPACE}{{1,2}}|{SPACE}(?:and|und|et|y|e|&){SPACE})
      (?P<over>\d{{1,2}}){_SLASH}(?P<under>\d{{1,3}})(?!\d|[.,/]\d)
   |{SPACE}and{SPACE}a{SPACE}(?P<half>half|quarter)(?!{JOINED})
   |(?:{SPACE}?[eE](?=[+{DASHES}])|[eE])(?P<exponent>[+{DASHES}]?\d+)
   |(?:{_TIMES}\{{?(?P<base>{_DECIMAL})\}}?(?=[\s^*]|[\u207a\u207b{SUPERSCRIPTS}]))?(?P<power>{_POWER})
   |{_SLASH}(?P<below>{_DECIMAL})(?!\d|[.,]\d|{_SLASH}\d|{SPACE}?\^)
  )?
)(?P<magnitude>{_MAGNITUDE}{{0,3}})(?P<letter>(?(currency){SPACE}?(?:[kKmMbBtT]|[mbtMBT]n|[mM]m)|(?:k|[MB]|bn))(?!{JOINED}))?{_AFTER}
"""
#: For text after `strip_markup`.
NUMBER: Final = re.compile("".join(line.lstrip(" ") for line in _NUMBER.splitlines()))


def numbers_in(text: str) -> Iterator[re.Match[str]]:
    """Each number in `text` without markup, except negated ones ("not 5")."""
    for match in NUMBER.finditer(text):
        if not _DENIED.search(text, max(0, match.start() - 24), match.start()):
            yield match


_SIGNS = r"[-+*/\u00d7\u00b7\u00f7\u2212]"
_IN_SUM = re.compile(
    rf"\s?{_SIGNS}\s?(?:[^=,;]{{0,40}}?{OPAQUE_IN.pattern}|\d{{0,6}}[ixyzn](?![\w=]|\s?=))"
)
_AFTER_OPAQUE = re.compile(rf"{OPAQUE_IN.pattern}\s?{_SIGNS}\s?\Z")
_DENIED = re.compile(
    rf"(?:(?<!{ALNUM})(?:not|never|nicht|instead{SPACE}of|rather{SPACE}than|pas)|n['\u2019]t"
    rf"|不是|并非|ではなく){SPACE}(?:equal{SPACE}to{SPACE}|just{SPACE})?\Z|(?:不是|并非)\Z"
)


def number(text: str) -> Fraction | None:
    """The exact value of the first number in `text`; None if there is none, if it exceeds the
    limits, or if it is part of a formula."""
    text = strip_markup(text)
    match = None if OPAQUE_IN.search(text) else NUMBER.search(text)
    return None if match is None or is_subexpression(match) else value(match)


def is_subexpression(match: re.Match[str]) -> bool:
    """Whether the match is part of a sum that is no real number: the 3 of `3 + 4i`."""
    before = match.string[max(0, match.start() - 8) : match.start()]
    return bool(_IN_SUM.match(match.string, match.end()) or _AFTER_OPAQUE.search(before))


def matched_number(match: re.Match[str]) -> str:
    """The text of a match, with the minus sign attached."""
    return re.sub(rf"\A([{DASHES}]) ", r"\1", match[0].strip())


def value(match: re.Match[str]) -> Fraction | None:
    """The value of a match of NUMBER; None beyond the limits and for division by zero."""
    if len(match[0]) > MAX_DIGITS:
        return None
    try:
        amount = _amount(match)
    except (ZeroDivisionError, OverflowError):
        return None
    if amount is None:
        return None
    negative = match["inner"] or (match["sign"] or "+").strip() != "+"
    return (-amount if negative else amount) * _magnitude(match)


def _amount(match: re.Match[str]) -> Fraction | None:
    if match["vulgar"]:
        return int(match["whole"] or 0) + Fraction(vulgar_fraction(match["vulgar"]))
    if match["han"]:
        return _han_number(match["han"])
    first = _decimal(match["first"])
    if match["over"]:
        return first + Fraction(int(match["over"]), int(match["under"]))
    if match["half"]:
        return first + Fraction(1, 2 if match["half"] == "half" else 4)
    if match["exponent"]:
        return _power(Fraction(10), match["exponent"], first)
    if match["base"]:
        return _power(_decimal(match["base"]), match["power"], first)
    if match["power"]:
        return _power(first, match["power"], Fraction(1))
    return first / _decimal(match["below"]) if match["below"] else first


def _decimal(written: str) -> Fraction:
    digits = re.sub(rf"{SPACE}|['\u2019_\u066c]", "", written).replace("\u066b", ".")
    commas, points = digits.count(","), digits.count(".")
    if points > 1 or (points and commas and digits.rindex(",") > digits.rindex(".")):
        digits = digits.replace(".", "").replace(",", ".")
    elif commas == 1 and not points and not _THOUSANDS.fullmatch(digits):
        digits = digits.replace(",", ".")
    whole, _, decimals = digits.replace(",", "").partition(".")
    return Fraction(int(whole + decimals), 10 ** len(decimals))


_THOUSANDS = re.compile(r"(?!0)\d{1,3},\d{3}")
_INTEGER = re.compile(rf"([{DASHES}]|minus |negative )?(\d+)", re.I)


def _power(base: Fraction, exponent: str, times: Fraction) -> Fraction | None:
    for word, digits in _ORDINALS.items():
        exponent = exponent.lower().replace(word, digits)
    match = _INTEGER.search(ascii_digits(exponent))
    power = int(match[2]) if match and len(match[2]) <= 9 else MAX_POWER + 1
    size = max(abs(base.numerator), base.denominator).bit_length()
    if match is None or power > MAX_POWER or power * size > 4 * MAX_DIGITS:
        return None
    return times * (base**-power if match[1] else base**power)


def _magnitude(match: re.Match[str]) -> int:
    words = (match["magnitude"] or "").casefold()
    powers = [_LETTERS[match["letter"].strip().casefold()]] if match["letter"] else []
    for word in re.split(rf"{SPACE}|-", words):
        powers += [p for p, names in _WORDS.items() if word and re.fullmatch(names, word)]
    return int(10 ** sum(powers))


def _han_number(written: str) -> Fraction:
    """`3亿5000万` as 350000000: a sum of numbers with magnitudes."""
    total = Fraction(0)
    for digits, powers in re.findall(r"(\d+(?:\.\d+)?)(\D*)", written):
        total += _decimal(digits) * 10 ** sum(_HAN_POWERS[power] for power in powers)
    return total


_COMMANDS: Final = {
    "times": "\u00d7", "cdot": "\u00b7", "ast": "*", "div": "\u00f7", "pm": "±", "mp": "±",
    "pi": "\u03c0", "infty": OPAQUE, "left": "", "right": "", "degree": "\u00b0", "sim": "~",
    "displaystyle": "", "quad": " ", "qquad": " ", "thinspace": " ", "space": " ", "dots": "...",
    "ldots": "...", "le": "\u2264", "leq": "\u2264", "ge": "\u2265", "geq": "\u2265",
    "approx": "\u2248",
}  # fmt: skip
_ARGUMENT = r"\s?(?:\{([^{}]{0,80})\}|(\w))"
_STEPS: Final[tuple[tuple[re.Pattern[str], str], ...]] = tuple(
    (re.compile(pattern), new)
    for pattern, new in (
        (r"~~[^~\n]{1,200}~~", ""),
        (r"<su[pP]>\s?([^<>]{1,20})</su[pP]>", r"^{\1}"),
        (r"</?(?:b|i|u|p|em|strong|span|div|br|code|mark|sub|font)(?:\s[^<>]{0,80})?/?>", ""),
        (r"\\m?(?:text(?:bf|it|rm|tt|sf|normal)?|math(?:bf|it|sf|tt|bb)|mbox|boldsymbol|bm|operatorname)"
         r"\s?\{([^{}]{0,200})\}", r"\1"),
        (r"\\mathrm\s?\{\s*[ei]\s*\}", OPAQUE),
        (r"\\mathrm\s?\{([^{}]{0,200})\}", r"\1"),
        (r"\^\s?\{?\s?\\(?:circ|degree)\s?\}?", "\u00b0"),
        (r"\{,\}", ","),
        (r"\{\s?\\?[,;: ]\s?\}|\\[,;: ]|(?<=\d)~(?=\d)", "\u2009"),
        (r"\\!", ""),
        (r"\\\$", "$"),
        (r"\\([%#&_])", r"\1"),
    )
)  # fmt: skip
_FULL_WIDTH = re.compile(
    "[\uff10-\uff19][\uff10-\uff19\uff0c\uff0e]*|[\uff05\uff0b\uff0f\uff1d\uff04]"
)
_ENTITY = re.compile(r"&#?\w{2,10};")
_FRACTION = re.compile(rf"(\d)?\s?\\(?:[dtc]|nice|s)?frac{_ARGUMENT}{_ARGUMENT}")
_ROOT = re.compile(
    r"(\d)?\s?(?:\\sqrt|\u221a|(?<![a-zA-Z])sqrt(?=\s?\()|(?<![a-zA-Z])square root of(?=\s\d))"
    r"(\s?\[[^\]]{0,20}\])?(?:\s?\{([^{}]{0,80})\}|\s?(\d+|\w)|\s?\(([^()]{0,80})\))"
)
_REPEATING = re.compile(r"(?<!\d)(\d{0,20})\.(\d{0,40})\\(?:overline|bar)\s?\{(\d{1,40})\}")
_COMMAND = re.compile(r"\\([a-zA-Z]+)\s?")
_FUNCTION = re.compile(
    r"\\(?:log|ln|lg|exp|a?r?c?(?:sin|cos|tan|cot)h?|binom|sum|int|prod|lim)(?![a-zA-Z])"
    r"|(?<![a-zA-Z])(?:(?:log|ln|exp|sin|cos|tan|cbrt|gcd|lcm|max|min)(?=\s?\()|cube root of)\s?\(?"
)
_BRACED = re.compile(r"(?<![\^_}\w])\{(\d+)\}")
_UNIT_POWER = re.compile(
    rf"(?<=[^\W\d_]|[)\]}}\u00b0])(?:\^|\*\*)(?:\{{[^{{}}]{{0,40}}\}}|\([^()]{{0,40}}\)|[{DASHES}]?\w+)"
)
_BOLD = re.compile(rf"(?<! )\*\*(?![({DASHES}]?\d)|(?<![\d)}} ])\*\*|^\*\*|(?<= )\*\*(?! )", re.M)
_STARRED = re.compile(r"(?<![\w*)])\*(?=[^\s*])([^*\n]{1,80}?)(?<=\S)\*(?![\w*(])")
_UNDERLINE = re.compile(rf"(?<!{ALNUM})_+|_+(?!{JOINED}|\{{)")


def strip_markup(text: str) -> str:
    r"""`text` without Markdown, HTML and LaTeX: `**\$1{,}234**` as `$1,234`, `\frac{1}{2}` as
    `1/2`. Parts that are no numbers become `OPAQUE`."""
    text = _FULL_WIDTH.sub(lambda match: ascii_digits(match[0]), text)
    text = _ENTITY.sub(lambda match: html.unescape(match[0]), text)
    for pattern, new in _STEPS:
        text = pattern.sub(new, text)
    text = _REPEATING.sub(_repeating, text)
    text = _ROOT.sub(_root, _FRACTION.sub(_fraction, text))
    text = _COMMAND.sub(
        lambda match: _COMMANDS.get(match[1], match[1]), _FUNCTION.sub(OPAQUE, text)
    )
    text = _BRACED.sub(r"\1", text)
    text = _STARRED.sub(r"\1", _BOLD.sub("", text.replace("\\", "").replace("`", "")))
    return _UNIT_POWER.sub("", _UNDERLINE.sub("", text))


def _fraction(match: re.Match[str]) -> str:
    """A fraction of two numbers as `1/2`, after a number as ` 1/2`; others are opaque."""
    before, *arguments = match.groups()
    above, below = (a if a is not None else b for a, b in (arguments[:2], arguments[2:]))
    above = above.strip().translate(dict.fromkeys(map(ord, "\u2212\u2013"), "-"))
    if not re.fullmatch(r"-?[\d,.]+", above) or not re.fullmatch(r"[\d,.]+", below.strip()):
        return (before or "") + OPAQUE
    return f"{before + ' ' if before else ''}{above}/{below.strip()}"


def _root(match: re.Match[str]) -> str:
    """The root of a perfect square; others are opaque."""
    before, degree, *arguments = match.groups()
    inside = next((argument for argument in arguments if argument is not None), "").strip()
    if before is None and degree is None and re.fullmatch(r"[0-9]{1,30}", inside):
        root = isqrt(int(inside))
        if root * root == int(inside):
            return str(root)
    return (before or "") + OPAQUE


def _repeating(match: re.Match[str]) -> str:
    r"""`0.1\overline{6}` as `15/90`."""
    whole, fixed, repeated = match.groups()
    if len(match[0]) > 200:
        return OPAQUE
    under = (10 ** len(repeated) - 1) * 10 ** len(fixed)
    over = int(whole + fixed + repeated) - int((whole + fixed) or 0)
    return f"{over}/{under}"
