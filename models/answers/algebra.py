"""Equality of SymPy expressions. Pure; slow to import, because it imports SymPy."""

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

#: Relative tolerance with decimals: 3.141593 equals pi, 3.14159 does not.
NEAR: Final = Fraction(5, 10**7)
#: Relative tolerance of exact numbers.
EXACT: Final = Fraction(1, 10**25)
#: Precision of evaluation.
DIGITS: Final = 40
#: Number of points at which expressions with variables are evaluated.
POINTS: Final = 4
#: Limits of the elements of a list or set, and of nested powers of variables.
MAX_PARTS: Final = 40
MAX_TOWER: Final = 2

_NORMALIZATION = NormalizationConfig(
    basic_latex=True, units=False, malformed_operators=True, nits=False, boxed="none"
)
_CONVERSION = ConversionConfig(lowercase_symbols=False)
#: It warns of every call without its own time limit.
logging.getLogger("math_verify.grader").setLevel(logging.ERROR)


@lru_cache(maxsize=64)
def parse_formula(formula: str) -> Any:
    """The unevaluated expression; None if the parser fails on any part."""
    try:
        expression = latex2sympy(
            normalize_latex(formula, _NORMALIZATION),
            is_real=True,
            convert_degrees=False,
            normalization_config=None,
            conversion_config=_CONVERSION,
        )
    except Exception:  # noqa: BLE001 - the parser raises many types
        return None
    return _with_unit(expression) if isinstance(expression, sympy.Basic) else expression


def _with_unit(expression: Any) -> Any:
    """`i` replaced by the imaginary unit, except as an index."""
    units = {s: sympy.I for s in expression.free_symbols if s.name == "i"}
    return expression.xreplace(units) if units else expression


def expressions_equal(a: Any, b: Any) -> bool:
    try:
        return _equal(a, b)
    except Exception:  # noqa: BLE001 - SymPy raises many types; all mean "not equal"
        return False


def _equal(a: Any, b: Any) -> bool:
    a, b = _drop_assignment(a, b)
    if a is b or (type(a) is type(b) and a == b):
        return a not in (sympy.nan, sympy.zoo)
    if _is_relation(a) and _is_relation(b):
        return _relations_equal(a, b)
    left, right = _parts(a), _parts(b)
    if left is not None and right is not None:
        return _parts_equal(a, b, left, right)
    if _is_scalar(a) and _is_scalar(b):
        return _scalars_equal(a, b)
    if not (isinstance(a, sympy.Set) or isinstance(b, sympy.Set)):
        return False
    return any(bool(verify(*pair, timeout_seconds=None)) for pair in ((a, b), (b, a)))


def _drop_assignment(a: Any, b: Any) -> tuple[Any, Any]:
    """`x = 5` and `5` as their values; two equations or two expressions unchanged."""
    if _is_relation(a) == _is_relation(b):
        return a, b
    return (_assigned_value(a), b) if _is_relation(a) else (a, _assigned_value(b))


def _assigned_value(relation: Any) -> Any:
    """The last side of an equation whose first side is a name or constant: `2 + 3 = 5`."""
    sides = relation._unsorted_args if isinstance(relation, And) else (relation,)
    if not all(isinstance(side, sympy.Eq) for side in sides):
        return relation
    first = sides[0].lhs
    named = isinstance(first, (sympy.Symbol, AppliedUndef)) or not first.free_symbols
    return sides[-1].rhs if named else relation


def _is_relation(a: Any) -> bool:
    return isinstance(a, (Relational, And))


def _is_scalar(a: Any) -> bool:
    return isinstance(a, sympy.Expr) and not isinstance(a, sympy.MatrixExpr)


def _parts(a: Any) -> Sequence[Any] | None:
    """Elements of a list, set, interval or matrix; None for other types."""
    if isinstance(a, sympy.Interval):
        return (a.start, a.end)
    if isinstance(a, (sympy.FiniteSet, sympy.Tuple, sympy.Union, sympy.Intersection)):
        return tuple(a.args)
    if isinstance(a, sympy.MatrixBase):
        return tuple(a.flat())
    return None


def _parts_equal(a: Any, b: Any, left: Sequence[Any], right: Sequence[Any]) -> bool:
    if len(left) > MAX_PARTS or len(right) > MAX_PARTS:
        return False
    if isinstance(a, sympy.FiniteSet) and isinstance(b, sympy.FiniteSet):
        return _same_set(left, right)
    if isinstance(a, sympy.Interval) and isinstance(b, sympy.Interval):
        ends = (a.left_open, a.right_open) == (b.left_open, b.right_open)
        return ends and all(map(_equal, left, right))
    if isinstance(a, sympy.MatrixBase) or isinstance(b, sympy.MatrixBase):
        return getattr(a, "shape", 0) == getattr(b, "shape", 1) and all(map(_equal, left, right))
    if isinstance(a, sympy.Tuple) and isinstance(b, sympy.Tuple):
        return len(left) == len(right) and all(map(_equal, left, right))
    return a.func is b.func and _same_set(left, right)


def _same_set(left: Sequence[Any], right: Sequence[Any]) -> bool:
    return all(any(_equal(x, y) for y in right) for x in left) and all(
        any(_equal(x, y) for x in left) for y in right
    )


def _relations_equal(a: Any, b: Any) -> bool:
    if isinstance(a, And) or isinstance(b, And):
        left, right = getattr(a, "_unsorted_args", ()), getattr(b, "_unsorted_args", ())
        return len(left) == len(right) and _same_set(left, right)
    a, b = _ascending(a), _ascending(b)
    if type(a) is not type(b):
        return False
    if _equal(a.lhs, b.lhs) and _equal(a.rhs, b.rhs):
        return True
    if isinstance(a, (sympy.Eq, sympy.Ne)) and _equal(a.lhs, b.rhs) and _equal(a.rhs, b.lhs):
        return True
    return _is_scalar(a.lhs - a.rhs) and _is_scalar(b.lhs - b.rhs) and _proportional(a, b)


def _ascending(relation: Any) -> Any:
    flipped = {sympy.Gt: sympy.Lt, sympy.Ge: sympy.Le}.get(type(relation))
    return flipped(relation.rhs, relation.lhs, evaluate=False) if flipped else relation


def _proportional(a: Any, b: Any) -> bool:
    """Whether the differences of their sides have a constant ratio, positive for inequalities."""
    ratios = []
    directed = not isinstance(a, (sympy.Eq, sympy.Ne))
    sides = [relation.lhs - relation.rhs for relation in (a, b)]
    if not directed:
        sides = [sympy.numer(sympy.together(relation)) for relation in sides]
    for left, right in _evaluated(*sides):
        if left is None or right is None or not left or not right:
            return False
        ratios.append(left / right)
    near = NEAR if _has_decimals(a, b) else EXACT
    return all(_near(ratios[0], relation, near) for relation in ratios) and not (
        directed and not (ratios[0].is_real and ratios[0] > 0)
    )


def _scalars_equal(a: Any, b: Any) -> bool:
    if _is_infinite(a) or _is_infinite(b):
        return bool(a.doit() == b.doit())
    near = NEAR if _has_decimals(a, b) else EXACT
    compared = 0
    for left, right in _evaluated(a, b):
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


def _evaluated(a: Any, b: Any) -> list[tuple[Any, Any]]:
    """Values of both expressions, at POINTS points if they have variables."""
    symbols = sorted(
        {*a.free_symbols, *b.free_symbols, *a.atoms(AppliedUndef), *b.atoms(AppliedUndef)}, key=str
    )
    if max(_power_depth(a), _power_depth(b)) > MAX_TOWER:
        return []
    points = [
        {symbol: _coordinate(n, index) for index, symbol in enumerate(symbols)}
        for n in range(POINTS if symbols else 1)
    ]
    return [(_value(a, point), _value(b, point)) for point in points]


def _coordinate(n: int, index: int) -> Any:
    """Coordinate of point `n`: pseudo-random fractions between -3 and 3."""
    return sympy.Rational(((n + 1) * 7919 + (index + 1) * (n + 3) * 104_729) % 601 - 300, 97)


def _value(a: Any, point: dict[Any, Any]) -> Any:
    """The real or complex value at a point; None if undefined."""
    value = sympy.N(a.xreplace(point).doit(), DIGITS)
    if not value.is_number or value.has(sympy.oo, sympy.zoo, sympy.nan) or value.is_finite is False:
        return None
    # Precision 1 means that no digit is certain: numbers cancel out.
    return sympy.Integer(0) if isinstance(value, sympy.Float) and value._prec == 1 else value


def _near(left: Any, right: Any, near: Fraction) -> bool:
    size = max(abs(left), abs(right))
    return bool(abs(left - right) <= size * sympy.Rational(near.numerator, near.denominator))


def _power_depth(a: Any) -> int:
    """Nesting depth of non-rational powers, exponentials and factorials."""
    below = max(map(_power_depth, getattr(a, "args", ())), default=0)
    grows = isinstance(a, (sympy.exp, sympy.factorial, sympy.gamma)) or (
        isinstance(a, sympy.Pow) and not a.exp.is_Rational
    )
    return below + grows


def bits(expression: Any) -> float:
    """Estimated bits of its numbers after evaluation; functions are assumed to grow as factorials.

    9^(9^9) would fill the memory within one call, which no limit on calls can prevent.
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
    """The absolute value of a number; infinite if too large to compute."""
    if getattr(expression, "free_symbols", None):
        return 1.0
    if bits(expression) > 64:
        return math.inf
    value = sympy.N(expression)
    return abs(float(value)) if value.is_real else float(sympy.Abs(value))
