"""Figures as a report tells them. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from colm.evaluation.stats.statistics import ENOUGH, Estimate


def share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def interval(estimate: Estimate | None) -> str:
    """As in "47.0% (37.5 to 56.7; n = 100)"."""
    if estimate is None:
        return ""
    low, high = 100 * estimate.low, 100 * estimate.high
    return f"{estimate.value:.1%} ({low:.1f} to {high:.1f}; {basis(estimate)})"


def points(estimate: Estimate | None) -> str:
    """A difference in percentage points, as in "+4.0 (-2.5 to +10.1; 40 clusters)"."""
    if estimate is None:
        return ""
    value, low, high = (100 * x for x in (estimate.value, estimate.low, estimate.high))
    return f"{value:+.1f} ({low:+.1f} to {high:+.1f}; {basis(estimate)})"


def basis(estimate: Estimate) -> str:
    """The items or clusters that an interval and its p rest on, and whether they are too few."""
    independent = estimate.clusters == estimate.n
    told = f"n = {estimate.n}" if independent else f"{estimate.clusters} clusters"
    return f"{told}, too few to say" if estimate.few else told


def cautions(estimates: Iterable[Estimate | None]) -> tuple[str, ...]:
    """A warning where any of them rests on too little; else none."""
    told = [estimate for estimate in estimates if estimate is not None]
    few = sum(estimate.few for estimate in told)
    if not few:
        return ()
    return (
        f"Too few questions to say: {few} of {len(told)} accuracies and differences rest on fewer"
        f" than {ENOUGH} clusters, or items where each is its own. No test over so few can find a"
        " difference. Ask more questions; more seeds of the same ones do not help.",
    )


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
