"""When two answers are the same one: words and numbers. Pure; formulas are in `models.formulas`.

Every rule is symmetric. Numbers within the tolerance of each other, and formulas, need not make
an equivalence relation, which is why `models.answers.vote` compares with the first of each class.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final

from models.extraction import NUMBER

#: Numbers this near to each other, relative to the larger one, are the same: 0.333333 is 1/3.
TOLERANCE: Final = Fraction(1, 10**6)
#: A number of more characters, or with a larger power of ten, is compared as text.
MAX_DIGITS: Final = 4_000
MAX_POWER: Final = 1_000


def written_alike(a: str, b: str) -> bool:
    """But for case, white space, brackets around it all, and punctuation at the end."""
    return _plain(a) == _plain(b)


def numbers_alike(a: str, b: str) -> bool:
    """Whole numbers exactly, others within `TOLERANCE`. Currency, units and percent signs are left
    out: "$50", "50 %" and "50.00 cm" are the same number."""
    left, right = number(a), number(b)
    if left is None or right is None:
        return written_alike(a, b)
    if left.denominator == right.denominator == 1:
        return left == right
    return abs(left - right) <= TOLERANCE * max(abs(left), abs(right))


def number(text: str) -> Fraction | None:
    """The first number in `text`, exactly; None where there is none, or one beyond bounds."""
    found = NUMBER.search(text)
    if not found or len(found[0]) > MAX_DIGITS:
        return None
    digits = re.sub(r"[\s,$\u20ac\u00a3]", "", found[0]).replace("\u2212", "-")
    mantissa, _, exponent = digits.lower().partition("e")
    if exponent and abs(int(exponent)) > MAX_POWER:
        return None
    try:
        return Fraction(mantissa) * Fraction(10) ** int(exponent or 0)
    except ZeroDivisionError:
        return None


def _plain(text: str) -> str:
    text = " ".join(text.split()).strip("*_`\"' ").rstrip(".,;:!").casefold()
    while len(text) > 1 and text[0] + text[-1] in ("()", "[]", "{}") and _encloses(text):
        text = text[1:-1].strip()
    return text


def _encloses(text: str) -> bool:
    """Whether the first bracket closes with the last character: not so in "(a) or (b)"."""
    depth = 0
    for place, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if not depth:
            return place == len(text) - 1
    return False
