"""Figures as a report tells them. Pure."""

from __future__ import annotations

from evaluation.statistics import Estimate


def share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def interval(estimate: Estimate | None) -> str:
    """As in "47.0% (37.5 to 56.7)"."""
    if estimate is None:
        return ""
    low, high = 100 * estimate.low, 100 * estimate.high
    return f"{estimate.value:.1%} ({low:.1f} to {high:.1f})"


def points(estimate: Estimate | None) -> str:
    """A difference in percentage points, as in "+4.0 (-2.5 to 10.1)"."""
    if estimate is None:
        return ""
    value, low, high = (100 * x for x in (estimate.value, estimate.low, estimate.high))
    return f"{value:+.1f} ({low:+.1f} to {high:+.1f})"


def p_value(p: float | None) -> str:
    if p is None:
        return ""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def number(value: float | None) -> str:
    """Three digits that count, without powers of ten."""
    if value is None:
        return ""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    digits = 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{value:.{digits}f}" if abs(value) >= 0.001 else f"{value:.2g}"
