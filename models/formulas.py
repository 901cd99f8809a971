"""When two formulas are equal, as math-verify finds it, within bounds that hold in any thread.

math-verify's own time limit uses signals, which reach the main thread alone. Here the work is
bounded instead: by the length of a formula, by the size of the numbers that it stands for, and by
the calls that a comparison makes. What is beyond the bounds is compared as it is written.
"""

from __future__ import annotations

import inspect
import logging
import math
import re
import sys
import threading
from collections.abc import Callable
from functools import lru_cache
from types import FrameType
from typing import Any, Final, TypeVar

from models.equivalence import number, numbers_alike, written_alike
from models.extraction import NUMBER

#: Characters of a formula.
MAX_FORMULA: Final = 300
#: Bits, roughly, of all numbers in a formula together, once computed.
MAX_BITS: Final = 20_000
#: Calls and returns during one comparison: one to two seconds, and alike on every machine.
MAX_CALLS: Final = 5_000_000
#: What math-verify's parser computes while it reads, and what makes that large.
_COMPUTED = re.compile(r"binom|choose|[Gg]amma|gcd|lcm|operatorname")
_LARGE = re.compile(r"\d{4}|\^|!|\d[eE]")
_FAR_POWER = re.compile(r"\d[eE][-+]?\d{4}")

R = TypeVar("R")
#: The parser of formulas and SymPy's caches are not made for threads.
_one_at_a_time = threading.Lock()


class _TooMuch(BaseException):
    """A comparison needs too many calls. Not an Exception: SymPy catches those."""


@lru_cache(maxsize=4_096)
def formulas_alike(a: str, b: str) -> bool:
    """Whether math-verify finds them equal, either way around; numbers as numbers.

    SymPy is imported with the first formula that is neither a number nor written the same.
    """
    a, b = (text.replace("\\$", "").replace("\\!", "") for text in (a, b))
    if written_alike(a, b):
        return True
    if _is_number(a) and _is_number(b):
        return numbers_alike(a, b)
    if not (_is_readable(a) and _is_readable(b)):
        return False
    with _one_at_a_time:
        try:
            return _within_calls(lambda: _verified(a, b), MAX_CALLS)
        except _TooMuch:
            return False


def _is_number(text: str) -> bool:
    """Whether it is one as a whole, and does not only have one in it."""
    whole = NUMBER.fullmatch(text.strip().strip("$").strip())
    return whole is not None and number(text) is not None


def _is_readable(formula: str) -> bool:
    """Whether to read it as a formula is sure to end soon."""
    if len(formula) > MAX_FORMULA or _FAR_POWER.search(formula):
        return False
    return not (_COMPUTED.search(formula) and _LARGE.search(formula))


def _verified(a: str, b: str) -> bool:
    from math_verify import verify

    left, right = _parsed(a), _parsed(b)
    if not left or not right or _bits(left[0]) + _bits(right[0]) > MAX_BITS:
        return False
    return any(
        bool(verify(gold, target, timeout_seconds=None))
        for gold, target in ((left, right), (right, left))
    )


def _parsed(formula: str) -> list[Any]:
    """SymPy's expression, unevaluated, and what of the text it was made of; [] for neither."""
    from math_verify import parse

    # It warns of every call that leaves out its own time limit.
    for module in ("math_verify.parser", "math_verify.grader"):
        logging.getLogger(module).setLevel(logging.ERROR)
    return list(parse(formula if "$" in formula else f"${formula}$", parsing_timeout=None))


def _bits(expression: Any) -> float:
    """About how many bits its numbers have once powers and factorials are computed.

    Every function of a number is taken to grow as a factorial does.
    9^(9^9) would fill the memory within one call, where no count of calls could stop it.
    """
    import sympy

    if isinstance(expression, sympy.Rational):
        return float(expression.p.bit_length() + expression.q.bit_length())
    if isinstance(expression, sympy.Pow) and expression.exp.is_number:
        return _bits(expression.base) * max(1.0, _magnitude(expression.exp))
    if isinstance(expression, sympy.Function):
        largest = max(map(_magnitude, expression.args), default=1.0)
        return largest * math.log2(largest + 2) if largest < math.inf else math.inf
    parts = expression.flat() if hasattr(expression, "flat") else getattr(expression, "args", ())
    return sum(map(_bits, parts)) or 1.0


def _magnitude(expression: Any) -> float:
    """The absolute value of a number, infinite where it could be too large to compute."""
    if getattr(expression, "free_symbols", None):
        return 1.0
    if _bits(expression) > 64:
        return math.inf
    import sympy

    value = sympy.N(expression)
    return abs(float(value)) if value.is_real else float(sympy.Abs(value))


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
