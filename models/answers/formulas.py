r"""When two formulas are equal, within bounds that hold in any thread.

SymPy's parser of LaTeX reads them, all or nothing. Numbers are compared with the digits that they
have, small ones as large ones; expressions with variables by their values at some points; lists,
sets, intervals and matrices part by part; equations up to a factor. math-verify decides the rest.

math-verify's own time limit uses signals, which reach the main thread alone. Here the work is
bounded instead: by the length of a formula, by the size of the numbers that it stands for, and by
the calls that a comparison makes. What is beyond the bounds is compared as it is written.
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

from colm.models.answers.equivalence import near, written_alike
from colm.models.answers.latex import formula, unworded, values, written

#: Characters of a formula.
MAX_FORMULA: Final = 300
#: Bits, roughly, of all numbers in a formula together, once computed.
MAX_BITS: Final = 20_000
#: Calls and returns during one comparison: one to two seconds, and alike on every machine.
MAX_CALLS: Final = 5_000_000
#: What SymPy's parser computes while it reads, and what makes that large.
_COMPUTED = re.compile(r"binom|choose|[Gg]amma|gcd|lcm|operatorname")
_LARGE = re.compile(r"\d{4}|\^|!|\d[eE]")
_FAR_POWER = re.compile(r"\d[eE][-+]?\d{4}")
#: What the parser would leave out, or take for a product of letters.
_UNREAD = re.compile(
    r"\\text|\\ldots|(?<![\\a-zA-Z{])[A-Za-z]{4,}|\d\.\d+\.\d|\\\{[^{}]*[:|]|\\mid|'|[\d)]_"
)
_WORDS = re.compile(r"[^\W\d_]{3,}")
_COMMAND = re.compile(r"\\[a-zA-Z]+(?:\{[a-zA-Z ]*\})?")
_BRACKETS = re.compile(r"[()\[\]]|\\[{}]")
_BRACKETED = re.compile(r"(?:\(|\[|\\\{)[^()\[\]]*,[^()\[\]]*(?:\)|\]|\\\})")

R = TypeVar("R")
#: The parser of formulas and SymPy's caches are not made for threads.
_one_at_a_time = threading.Lock()


class _TooMuch(BaseException):
    """A comparison needs too many calls. Not an Exception: SymPy catches those."""


@lru_cache(maxsize=4_096)
def formulas_alike(a: str, b: str) -> bool:
    """Whether they are equal, either way around; numbers as numbers, words as words.

    SymPy is imported with the first formula that is neither a number nor written the same.
    """
    if max(len(a), len(b)) > 4 * MAX_FORMULA:
        return written_alike(a, b)
    left, right = formula(a), formula(b)
    if _is_worded(left) and _is_worded(right) and written_alike(unworded(left), unworded(right)):
        return True
    return _alike(left, right) or any(_alike(*pair) for pair in _unbracketed(left, right))


def _is_worded(text: str) -> bool:
    return _WORDS.search(_COMMAND.sub(" ", unworded(text))) is not None


def _unbracketed(a: str, b: str) -> Iterator[tuple[str, str]]:
    """Without the brackets around all of one, where the other has none: `1, 2` for `(1, 2)`."""
    for one, other in ((a, b), (b, a)):
        if _BRACKETED.fullmatch(one) and not _BRACKETS.search(other):
            yield one.strip("\\()[]{} "), other


def _alike(a: str, b: str) -> bool:
    if written(a) == written(b):
        return True
    left, right = values(a), values(b)
    if left and right:
        both = len(left) == len(right)
        return near(left[0], right[0]) if both else any(near(x, y) for x in left for y in right)
    if r"\ldots" in a or r"\ldots" in b:
        return _sequences_alike(a, b)
    if not (_is_readable(a) and _is_readable(b)):
        return False
    with _one_at_a_time:
        try:
            return _within_calls(lambda: _equal(a, b), MAX_CALLS)
        except _TooMuch:
            return False


def _sequences_alike(a: str, b: str) -> bool:
    """Lists with an ellipsis: as long as each other, and alike at each place."""
    left, right = ([one.strip() for one in text.split(",")] for text in (a, b))
    return len(left) == len(right) > 1 and all(
        one == other or (r"\ldots" not in one + other and _alike(one, other))
        for one, other in zip(left, right, strict=True)
    )


def _is_readable(formula: str) -> bool:
    """Whether to read it as a formula is sure to end soon, and leaves nothing out."""
    if len(formula) > MAX_FORMULA or _FAR_POWER.search(formula) or _UNREAD.search(formula):
        return False
    return not (_COMPUTED.search(formula) and _LARGE.search(formula))


def _equal(a: str, b: str) -> bool:
    from colm.models.answers import algebra

    left, right = algebra.parsed(a), algebra.parsed(b)
    if left is None or right is None or algebra.bits(left) + algebra.bits(right) > MAX_BITS:
        return False
    return algebra.alike(left, right)


def _within_calls(function: Callable[[], R], most: int) -> R:
    """What `function` returns; _TooMuch when it takes more than `most` calls and returns."""
    left = most

    def count(frame: FrameType, event: str, _argument: object) -> None:
        nonlocal left
        left -= 1
        # Raised where a generator is dropped, it would be printed and lost.
        if left < 0 and event == "call" and not frame.f_code.co_flags & inspect.CO_GENERATOR:
            raise _TooMuch

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        return function()
    finally:
        sys.setprofile(before)
