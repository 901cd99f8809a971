"""Equality of texts and numbers: symmetric, but with tolerances not transitive. Pure."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final

from colm.models.answers.characters import plain
from colm.models.answers.numerals import number

#: Relative tolerance: 0.333333 equals 1/3.
TOLERANCE: Final = Fraction(1, 10**6)

_SPACED = re.compile(r"\s*([-;])\s*|\s+(?=[,.!?])")
_WRAPPING = "*_\"' \t\r\n"


def texts_equal(a: str, b: str) -> bool:
    """Equality except for case, white space, enclosing brackets and quotes, final punctuation, and
    equivalent characters (`colm.models.answers.characters.plain`)."""
    return _normal(a) == _normal(b)


def numbers_equal(a: str, b: str) -> bool:
    """Integers exactly, others within `TOLERANCE`, without currency, units and percent signs:
    "$50", "50 %" and "50.00 cm" are equal."""
    left, right = number(a), number(b)
    if left is None or right is None:
        return texts_equal(a, b)
    return near(left, right)


def near(left: Fraction, right: Fraction) -> bool:
    """Whether two integers are equal, or two numbers within the relative tolerance."""
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
    """Whether the first bracket closes with the last character, unlike in "(a) or (b)"."""
    depth = 0
    for index, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if not depth:
            return index == len(text) - 1
    return False
