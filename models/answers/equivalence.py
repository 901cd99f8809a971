"""Equality of two answers, as words or numbers. Pure. Formulas: `colm.models.answers.formulas`.

Every rule is symmetric. Numbers within the tolerance of each other, and formulas, need not make
an equivalence relation, which is why `colm.models.answers.compare.vote` compares with the first of
each class.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final

from colm.models.answers.characters import plain
from colm.models.answers.numerals import number as number

#: Numbers this near to each other, relative to the larger one, are the same: 0.333333 is 1/3.
TOLERANCE: Final = Fraction(1, 10**6)

_SPACED = re.compile(r"\s*([-;])\s*|\s+(?=[,.!?])")
_WRAPPING = "*_\"' \t\r\n"


def written_alike(a: str, b: str) -> bool:
    """But for case, white space, brackets and quotes around it all, punctuation at the end, and
    characters that mean the same: composed accents or not, full width, dashes, quotes."""
    return _normal(a) == _normal(b)


def numbers_alike(a: str, b: str) -> bool:
    """Whole numbers exactly, others within `TOLERANCE`. Currency, units and percent signs are left
    out: "$50", "50 %" and "50.00 cm" are the same number."""
    left, right = number(a), number(b)
    if left is None or right is None:
        return written_alike(a, b)
    return near(left, right)


def near(left: Fraction, right: Fraction) -> bool:
    """Whether two numbers are the same: small ones are held to as many digits as large ones."""
    if left.denominator == right.denominator == 1:
        return left == right
    return abs(left - right) <= TOLERANCE * max(abs(left), abs(right))


def _normal(text: str) -> str:
    text = " ".join(plain(plain(text).casefold()).split())
    text = _SPACED.sub(r"\1", text).strip(_WRAPPING).rstrip(".,;:!?").strip(_WRAPPING)
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
