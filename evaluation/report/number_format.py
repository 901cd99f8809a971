"""Format of numbers in reports. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from colm.evaluation.stats.statistics import ENOUGH, Estimate


def share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def interval(estimate: Estimate | None) -> str:
    """For example "47.0% (37.5 to 56.7; n = 100)"."""
    if estimate is None:
        return ""
    low, high = 100 * estimate.low, 100 * estimate.high
    return f"{estimate.value:.1%} ({low:.1f} to {high:.1f}; {basis(estimate)})"


def points(estimate: Estimate | None) -> str:
    """A difference in percentage points, for example "+4.0 (-2.5 to +10.1; 40 clusters)"."""
    if estimate is None:
        return ""
    value, low, high = (100 * x for x in (estimate.value, estimate.low, estimate.high))
    return f"{value:+.1f} ({low:+.1f} to {high:+.1f}; {basis(estimate)})"


def basis(estimate: Estimate) -> str:
    """The number of items or clusters of an estimate, and whether they are too few."""
    independent = estimate.clusters == estimate.n
    words = f"n = {estimate.n}" if independent else f"{estimate.clusters} clusters"
    return f"{words}, too few to say" if estimate.few else words


def cautions(estimates: Iterable[Estimate | None]) -> tuple[str, ...]:
    """A warning if any estimate has too few clusters; else ()."""
    present = [estimate for estimate in estimates if estimate is not None]
    few = sum(estimate.few for estimate in present)
    if not few:
        return ()
    return (
        f"Too few questions to say: {few} of {len(present)} accuracies and differences rest on"
        f" fewer than {ENOUGH} clusters, or independent items. No test over so few can find a"
        " difference. Ask more questions; more seeds of the same ones do not help.",
    )


def p_value(p: float | None) -> str:
    if p is None:
        return ""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def number(value: float | None) -> str:
    """Three significant digits without an exponent."""
    if value is None:
        return ""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    digits = 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{value:.{digits}f}" if abs(value) >= 0.001 else f"{value:.2g}"
