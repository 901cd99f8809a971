"""When two expressions of SymPy are equal. Pure, and slow to import: SymPy comes with it."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Any, Final

import sympy
from latex2sympy2_extended.latex2sympy2 import ConversionConfig, latex2sympy
from latex2sympy2_extended.logic import And
from latex2sympy2_extended.math_normalization import NormalizationConfig, normalize_latex
from math_verify.grader import verify
from sympy.core.function import AppliedUndef
from sympy.core.relational import Relational

#: How near to each other, relative to the larger, values are the same where a decimal is among
#: them: 3.141593 is pi and 3.14159 is not.
NEAR: Final = Fraction(5, 10**7)
#: The same where all numbers are exact.
EXACT: Final = Fraction(1, 10**25)
#: Digits to which expressions are computed.
DIGITS: Final = 40
#: Points at which expressions with variables are compared.
POINTS: Final = 4
#: The most parts of a list or set, and the most powers within powers of variables.
MAX_PARTS: Final = 40
MAX_TOWER: Final = 2

_AS_WRITTEN = NormalizationConfig(
    basic_latex=True, units=False, malformed_operators=True, nits=False, boxed="none"
)
_LETTERS_AS_THEY_ARE = ConversionConfig(lowercase_symbols=False)
#: It warns of every call that leaves out its own time limit.
logging.getLogger("math_verify.grader").setLevel(logging.ERROR)


@lru_cache(maxsize=64)
def parsed(formula: str) -> Any:
    """SymPy's expression, unevaluated; None where any of the formula cannot be read."""
    try:
        expression = latex2sympy(
            normalize_latex(formula, _AS_WRITTEN),
            is_real=True,
            convert_degrees=False,
            normalization_config=None,
            conversion_config=_LETTERS_AS_THEY_ARE,
        )
    except Exception:  # noqa: BLE001 - the parser raises nothing more exact
        return None
    return _with_unit(expression) if isinstance(expression, sympy.Basic) else expression


def _with_unit(expression: Any) -> Any:
    """i as the imaginary unit, but where it counts."""
    units = {s: sympy.I for s in expression.free_symbols if s.name == "i"}
    return expression.xreplace(units) if units else expression


def alike(a: Any, b: Any) -> bool:
    """Whether two expressions are equal; symmetric."""
    try:
        return _alike(a, b)
    except Exception:  # noqa: BLE001 - SymPy's errors are many, and what it cannot do is no equality
        return False


def _alike(a: Any, b: Any) -> bool:
    a, b = _unassigned(a, b)
    if a is b or (type(a) is type(b) and a == b):
        return a not in (sympy.nan, sympy.zoo)
    if _is_relation(a) and _is_relation(b):
        return _relations_alike(a, b)
    left, right = _parts(a), _parts(b)
    if left is not None and right is not None:
        return _parts_alike(a, b, left, right)
    if _is_scalar(a) and _is_scalar(b):
        return _scalars_alike(a, b)
    if not (isinstance(a, sympy.Set) or isinstance(b, sympy.Set)):
        return False
    return any(bool(verify(*pair, timeout_seconds=None)) for pair in ((a, b), (b, a)))


def _unassigned(a: Any, b: Any) -> tuple[Any, Any]:
    """Of `x = 5` and `5` the values; of `x = 5` and `x = 5` what they are."""
    if _is_relation(a) == _is_relation(b):
        return a, b
    return (_assigned(a), b) if _is_relation(a) else (a, _assigned(b))


def _assigned(relation: Any) -> Any:
    """The last side of an equation whose first is a name, or no name at all: `2 + 3 = 5`."""
    sides = relation._unsorted_args if isinstance(relation, And) else (relation,)
    if not all(isinstance(one, sympy.Eq) for one in sides):
        return relation
    first = sides[0].lhs
    named = isinstance(first, (sympy.Symbol, AppliedUndef)) or not first.free_symbols
    return sides[-1].rhs if named else relation


def _is_relation(a: Any) -> bool:
    return isinstance(a, (Relational, And))


def _is_scalar(a: Any) -> bool:
    return isinstance(a, sympy.Expr) and not isinstance(a, sympy.MatrixExpr)


def _parts(a: Any) -> Sequence[Any] | None:
    """What a list, set, interval or matrix consists of; None of what is none of these."""
    if isinstance(a, sympy.Interval):
        return (a.start, a.end)
    if isinstance(a, (sympy.FiniteSet, sympy.Tuple, sympy.Union, sympy.Intersection)):
        return tuple(a.args)
    if isinstance(a, sympy.MatrixBase):
        return tuple(a.flat())
    return None


def _parts_alike(a: Any, b: Any, left: Sequence[Any], right: Sequence[Any]) -> bool:
    if len(left) > MAX_PARTS or len(right) > MAX_PARTS:
        return False
    if isinstance(a, sympy.FiniteSet) and isinstance(b, sympy.FiniteSet):
        return _same_set(left, right)
    if isinstance(a, sympy.Interval) and isinstance(b, sympy.Interval):
        ends = (a.left_open, a.right_open) == (b.left_open, b.right_open)
        return ends and all(map(_alike, left, right))
    if isinstance(a, sympy.MatrixBase) or isinstance(b, sympy.MatrixBase):
        return getattr(a, "shape", 0) == getattr(b, "shape", 1) and all(map(_alike, left, right))
    if isinstance(a, sympy.Tuple) and isinstance(b, sympy.Tuple):
        return len(left) == len(right) and all(map(_alike, left, right))
    return a.func is b.func and _same_set(left, right)


def _same_set(left: Sequence[Any], right: Sequence[Any]) -> bool:
    return all(any(_alike(x, y) for y in right) for x in left) and all(
        any(_alike(x, y) for x in left) for y in right
    )


def _relations_alike(a: Any, b: Any) -> bool:
    if isinstance(a, And) or isinstance(b, And):
        left, right = getattr(a, "_unsorted_args", ()), getattr(b, "_unsorted_args", ())
        return len(left) == len(right) and _same_set(left, right)
    a, b = _upward(a), _upward(b)
    if type(a) is not type(b):
        return False
    if _alike(a.lhs, b.lhs) and _alike(a.rhs, b.rhs):
        return True
    if isinstance(a, (sympy.Eq, sympy.Ne)) and _alike(a.lhs, b.rhs) and _alike(a.rhs, b.lhs):
        return True
    return _is_scalar(a.lhs - a.rhs) and _is_scalar(b.lhs - b.rhs) and _proportional(a, b)


def _upward(relation: Any) -> Any:
    """With the smaller side first."""
    flipped = {sympy.Gt: sympy.Lt, sympy.Ge: sympy.Le}.get(type(relation))
    return flipped(relation.rhs, relation.lhs, evaluate=False) if flipped else relation


def _proportional(a: Any, b: Any) -> bool:
    """Whether the difference of the sides of one is that of the other but for a factor, which is
    positive where they are inequalities."""
    ratios = []
    directed = not isinstance(a, (sympy.Eq, sympy.Ne))
    sides = [one.lhs - one.rhs for one in (a, b)]
    if not directed:
        sides = [sympy.numer(sympy.together(one)) for one in sides]
    for left, right in _computed(*sides):
        if left is None or right is None or not left or not right:
            return False
        ratios.append(left / right)
    near = NEAR if _has_decimals(a, b) else EXACT
    return all(_near(ratios[0], one, near) for one in ratios) and not (
        directed and not (ratios[0].is_real and ratios[0] > 0)
    )


def _scalars_alike(a: Any, b: Any) -> bool:
    if _is_infinite(a) or _is_infinite(b):
        return bool(a.doit() == b.doit())
    near = NEAR if _has_decimals(a, b) else EXACT
    compared = 0
    for left, right in _computed(a, b):
        if left is None or right is None:
            continue
        if not _near(left, right, near):
            return False
        compared += 1
    return compared > 0


def _is_infinite(a: Any) -> bool:
    return bool(a.has(sympy.oo, -sympy.oo, sympy.zoo, sympy.nan)) and not a.has(
        sympy.Sum, sympy.Integral
    )


def _has_decimals(a: Any, b: Any) -> bool:
    return bool(a.has(sympy.Float) or b.has(sympy.Float))


def _computed(a: Any, b: Any) -> list[tuple[Any, Any]]:
    """Both expressions' values, at some points where they have variables."""
    unknown = sorted(
        {*a.free_symbols, *b.free_symbols, *a.atoms(AppliedUndef), *b.atoms(AppliedUndef)}, key=str
    )
    if max(_tower(a), _tower(b)) > MAX_TOWER:
        return []
    points = [
        {one: _coordinate(n, place) for place, one in enumerate(unknown)}
        for n in range(POINTS if unknown else 1)
    ]
    return [(_value(a, point), _value(b, point)) for point in points]


def _coordinate(n: int, place: int) -> Any:
    """Of the point `n`: fractions between -3 and 3 that stand in no simple relation."""
    return sympy.Rational(((n + 1) * 7919 + (place + 1) * (n + 3) * 104_729) % 601 - 300, 97)


def _value(a: Any, point: dict[Any, Any]) -> Any:
    """A number, real or complex; None where it has none there."""
    value = sympy.N(a.xreplace(point).doit(), DIGITS)
    if not value.is_number or value.has(sympy.oo, sympy.zoo, sympy.nan) or value.is_finite is False:
        return None
    # Computed to no digit at all: what is left of numbers that cancel out.
    return sympy.Integer(0) if isinstance(value, sympy.Float) and value._prec == 1 else value


def _near(left: Any, right: Any, near: Fraction) -> bool:
    size = max(abs(left), abs(right))
    return bool(abs(left - right) <= size * sympy.Rational(near.numerator, near.denominator))


def _tower(a: Any) -> int:
    """How many powers and factorials of what is no plain number stand within each other."""
    below = max(map(_tower, getattr(a, "args", ())), default=0)
    grows = isinstance(a, (sympy.exp, sympy.factorial, sympy.gamma)) or (
        isinstance(a, sympy.Pow) and not a.exp.is_Rational
    )
    return below + grows


def bits(expression: Any) -> float:
    """About how many bits its numbers have once powers and factorials are computed.

    Every function of a number is taken to grow as a factorial does.
    9^(9^9) would fill the memory within one call, where no count of calls could stop it.
    """
    if isinstance(expression, sympy.Rational):
        return float(expression.p.bit_length() + expression.q.bit_length())
    if isinstance(expression, sympy.Pow) and expression.exp.is_number:
        return bits(expression.base) * max(1.0, _magnitude(expression.exp))
    if isinstance(expression, (sympy.Sum, sympy.Product)):
        return bits(expression.function) * math.prod(
            1.0 + _magnitude(upper) + _magnitude(lower) for _, lower, upper in expression.limits
        )
    if isinstance(expression, sympy.Function):
        largest = max(map(_magnitude, expression.args), default=1.0)
        return largest * math.log2(largest + 2) if largest < math.inf else math.inf
    parts = expression.flat() if hasattr(expression, "flat") else getattr(expression, "args", ())
    return sum(map(bits, parts)) or 1.0


def _magnitude(expression: Any) -> float:
    """The absolute value of a number, infinite where it could be too large to compute."""
    if getattr(expression, "free_symbols", None):
        return 1.0
    if bits(expression) > 64:
        return math.inf
    value = sympy.N(expression)
    return abs(float(value)) if value.is_real else float(sympy.Abs(value))
