"""Statistics of samples. Pure."""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

#: With fewer samples the 99th percentile is the largest.
ENOUGH_FOR_P99 = 20
RESAMPLES = 1000


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The figures of one quantity."""

    samples: int
    median: float
    #: None for fewer than ENOUGH_FOR_P99 samples.
    p99: float | None
    least: float
    most: float


class Interval(NamedTuple):
    """A 95 % confidence interval."""

    low: float
    high: float


def summarize(samples: Sequence[float]) -> Summary:
    """The figures of at least one sample."""
    return Summary(
        samples=len(samples),
        median=statistics.median(samples),
        p99=percentile(samples, 99) if len(samples) >= ENOUGH_FOR_P99 else None,
        least=min(samples),
        most=max(samples),
    )


def percentile(samples: Sequence[float], percent: int) -> float:
    """Linear interpolation between the two nearest samples; within the extremes."""
    if len(samples) == 1:
        return samples[0]
    return statistics.quantiles(samples, n=100, method="inclusive")[percent - 1]


def ratio_of_medians(over: Sequence[float], under: Sequence[float]) -> float:
    return statistics.median(over) / statistics.median(under)


def ratio_interval(over: Sequence[float], under: Sequence[float], *, seed: int = 0) -> Interval:
    """The bootstrap interval of `ratio_of_medians`."""
    draw = random.Random(seed)
    ratios = [
        ratio_of_medians(draw.choices(over, k=len(over)), draw.choices(under, k=len(under)))
        for _ in range(RESAMPLES)
    ]
    cuts = statistics.quantiles(ratios, n=40, method="inclusive")
    return Interval(cuts[0], cuts[-1])


def milliseconds(seconds: Sequence[float]) -> list[float]:
    return [1000 * value for value in seconds]
