r"""Equality of formulas, with limits on work that hold in any thread.

Formulas are parsed as LaTeX (SymPy). Numbers are compared with relative tolerance; expressions with
variables by their values at some points; lists, sets, intervals and matrices by their elements;
equations up to a factor. math-verify decides the rest.

math-verify's time limit uses signals, which only reach the main thread. Therefore length, size of
numbers and function calls are limited. Formulas beyond the limits are compared as text.
"""

from __future__ import annotations

import inspect
import re
import sys
import threading
from collections.abc import Callable, Iterator
from functools import lru_cache
from types import FrameType
from typing import Final, TypeVar

from colm.models.answers.equivalence import near, texts_equal
from colm.models.answers.latex import canonical_text, formula_values, normalize_formula, unwrap_text

#: Characters of a formula.
MAX_FORMULA: Final = 300
#: Estimated bits of all evaluated numbers of two formulas.
MAX_BITS: Final = 20_000
#: Calls and returns of one comparison: one to two seconds, but independent of the machine.
MAX_CALLS: Final = 5_000_000
#: Functions that SymPy evaluates while parsing, and operands that make this slow.
_COMPUTED = re.compile(r"binom|choose|[Gg]amma|gcd|lcm|operatorname")
_LARGE = re.compile(r"\d{4}|\^|!|\d[eE]")
_FAR_POWER = re.compile(r"\d[eE][-+]?\d{4}")
#: Notation that the parser ignores or misreads as a product of letters.
_UNREAD = re.compile(
    r"\\text|\\ldots|(?<![\\a-zA-Z{])[A-Za-z]{4,}|\d\.\d+\.\d|\\\{[^{}]*[:|]|\\mid|'|[\d)]_"
)
_WORDS = re.compile(r"[^\W\d_]{3,}")
_COMMAND = re.compile(r"\\[a-zA-Z]+(?:\{[a-zA-Z ]*\})?")
_BRACKETS = re.compile(r"[()\[\]]|\\[{}]")
_BRACKETED = re.compile(r"(?:\(|\[|\\\{)[^()\[\]]*,[^()\[\]]*(?:\)|\]|\\\})")

R = TypeVar("R")
#: The parser and SymPy's caches are not thread-safe.
_lock = threading.Lock()


class _TooMuch(BaseException):
    """A comparison exceeded MAX_CALLS. A BaseException, because SymPy catches Exception."""


@lru_cache(maxsize=4_096)
def formulas_equal(a: str, b: str) -> bool:
    """Whether two formulas, numbers or texts are equal; symmetric. Imports SymPy when needed."""
    if max(len(a), len(b)) > 4 * MAX_FORMULA:
        return texts_equal(a, b)
    left, right = normalize_formula(a), normalize_formula(b)
    if (
        _is_worded(left)
        and _is_worded(right)
        and texts_equal(unwrap_text(left), unwrap_text(right))
    ):
        return True
    return _formulas_equal(left, right) or any(
        _formulas_equal(*pair) for pair in _unbracketed(left, right)
    )


def _is_worded(text: str) -> bool:
    return _WORDS.search(_COMMAND.sub(" ", unwrap_text(text))) is not None


def _unbracketed(a: str, b: str) -> Iterator[tuple[str, str]]:
    """Pairs without the enclosing brackets of one, if the other has none: `(1, 2)` and `1, 2`."""
    for first, second in ((a, b), (b, a)):
        if _BRACKETED.fullmatch(first) and not _BRACKETS.search(second):
            yield first.strip("\\()[]{} "), second


def _formulas_equal(a: str, b: str) -> bool:
    if canonical_text(a) == canonical_text(b):
        return True
    left, right = formula_values(a), formula_values(b)
    if left and right:
        both = len(left) == len(right)
        return near(left[0], right[0]) if both else any(near(x, y) for x in left for y in right)
    if r"\ldots" in a or r"\ldots" in b:
        return _sequences_equal(a, b)
    if not (_is_readable(a) and _is_readable(b)):
        return False
    with _lock:
        try:
            return _limit_calls(lambda: _equal(a, b), MAX_CALLS)
        except _TooMuch:
            return False


def _sequences_equal(a: str, b: str) -> bool:
    """Whether two lists with an ellipsis have equal lengths and elements."""
    left, right = ([x.strip() for x in text.split(",")] for text in (a, b))
    return len(left) == len(right) > 1 and all(
        x == y or (r"\ldots" not in x + y and _formulas_equal(x, y))
        for x, y in zip(left, right, strict=True)
    )


def _is_readable(formula: str) -> bool:
    """Whether it can be parsed completely and in bounded time."""
    if len(formula) > MAX_FORMULA or _FAR_POWER.search(formula) or _UNREAD.search(formula):
        return False
    return not (_COMPUTED.search(formula) and _LARGE.search(formula))


def _equal(a: str, b: str) -> bool:
    from colm.models.answers import algebra

    left, right = algebra.parse_formula(a), algebra.parse_formula(b)
    if left is None or right is None or algebra.bits(left) + algebra.bits(right) > MAX_BITS:
        return False
    return algebra.expressions_equal(left, right)


def _limit_calls(function: Callable[[], R], limit: int) -> R:
    """The result of `function`. Raises _TooMuch after `limit` calls and returns."""
    left = limit

    def count(frame: FrameType, event: str, _argument: object) -> None:
        nonlocal left
        left -= 1
        # An exception in the finalizer of a generator would be printed and lost.
        if left < 0 and event == "call" and not frame.f_code.co_flags & inspect.CO_GENERATOR:
            raise _TooMuch

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        return function()
    finally:
        sys.setprofile(before)
