"""Confidence intervals and tests of scores, by SciPy and statsmodels.

Items are right or not. Repeated items (seeds of one example, questions on one document) form
clusters (`colm.evaluation.stats.clusters`): treated as independent, they make intervals too narrow
(Cameron and Miller, 2015, A Practitioner's Guide to Cluster-Robust Inference, section II).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from statsmodels.stats.contingency_tables import mcnemar as _mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from colm.evaluation.stats.clusters import Floats, gain_interval, share_interval, sign_flip_p

#: Default confidence level.
LEVEL: Final = 0.95
#: With fewer clusters no sign-flip test can be significant: p is at least 2 / 2^5 = 0.0625.
ENOUGH: Final = 6
#: Draws of a sampled test.
RESAMPLES: Final = 9_999


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A value and its confidence interval, from `n` items."""

    value: float
    low: float
    high: float
    n: int
    #: Independent items, or clusters of dependent ones.
    clusters: int
    #: Method of the interval.
    method: str

    @property
    def few(self) -> bool:
        """Whether the clusters are too few for a test."""
        return self.clusters < ENOUGH


@dataclass(frozen=True, kw_only=True)
class PairedDifference:
    """Gain of one strategy over another on the same items, with its test."""

    #: Mean of the first minus mean of the second.
    gain: Estimate
    #: Two-sided.
    p: float | None
    test: str
    #: Items that only the first, and only the second, has right.
    only_first: int
    only_second: int


def wilson(right: int, n: int, *, level: float = LEVEL) -> Estimate | None:
    """A share with Wilson's score interval (Wilson, 1927); None without items."""
    if n == 0:
        return None
    low, high = proportion_confint(right, n, alpha=1 - level, method="wilson")
    value = right / n
    # Rounding can put an end beyond a value of 0 or 1.
    return Estimate(
        value=value,
        low=min(float(low), value),
        high=max(float(high), value),
        n=n,
        clusters=n,
        method="Wilson",
    )


def accuracy(right: Sequence[bool], clusters: Sequence[str] | None = None) -> Estimate | None:
    """The share of right items; None without items.

    Wilson's interval for independent items, else `share_interval`.
    """
    n = len(right)
    if clusters is None or len(set(clusters)) == n:
        return wilson(sum(right), n)
    sums, sizes = _clustered(np.asarray(right, dtype=float), clusters)
    low, high, effective = share_interval(sums, sizes, LEVEL)
    return Estimate(
        value=sum(right) / n,
        low=float(low),
        high=float(high),
        n=n,
        clusters=len(sums),
        method=f"Clopper-Pearson on {float(effective):.3g} effective items of {len(sums)} clusters",
    )


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided p of McNemar's test (1947); 1.0 without discordant items."""
    if only_first + only_second == 0:
        return 1.0
    table = [[0, only_first], [only_second, 0]]
    return float(_mcnemar(table, exact=True).pvalue)


def difference(
    first: Mapping[str, bool],
    other: Mapping[str, bool],
    *,
    seed: int,
    clusters: Mapping[str, str] | None = None,
    resamples: int = RESAMPLES,
) -> PairedDifference | None:
    """The gain of `first` over `other` on their common items; None without any.

    The interval is Student's t over clusters. p is McNemar's exact one for independent items, else
    the larger of the sign flips' (exact if both are exchangeable) and, with at least ENOUGH
    clusters, the t test's (valid if only the means are equal). The interval contains 0 wherever p
    is not significant.
    """
    shared = [item for item in first if item in other]
    if not shared:
        return None
    gains = np.asarray([float(first[item]) - float(other[item]) for item in shared])
    only_first, only_second = int((gains > 0).sum()), int((gains < 0).sum())
    named = [clusters.get(item, item) for item in shared] if clusters else shared
    sums, sizes = _clustered(gains, named)
    low, high, by_t = gain_interval(sums, sizes, np.abs(gains).sum(), LEVEL)
    if len(sums) == len(shared):
        p, test = mcnemar(only_first, only_second), "McNemar, exact"
    else:
        p, test = sign_flip_p(sums, seed=seed, resamples=resamples), "sign flips over clusters"
        if len(sums) >= ENOUGH:
            p, test = max(p, float(by_t)), "sign flips and t over clusters"
    possible = p > 1 - LEVEL
    gain = Estimate(
        value=float(gains.mean()),
        low=min(float(low), 0.0) if possible else float(low),
        high=max(float(high), 0.0) if possible else float(high),
        n=len(shared),
        clusters=len(sums),
        method=f"t over {len(sums)} clusters",
    )
    return PairedDifference(
        gain=gain, p=p, test=test, only_first=only_first, only_second=only_second
    )


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """The p values after Holm's correction (1979), in their order. None stays None."""
    given_ps = [p for p in ps if p is not None]
    if not given_ps:
        return list(ps)
    corrected = iter(multipletests(given_ps, method="holm")[1])
    return [None if p is None else float(next(corrected)) for p in ps]


def _clustered(values: Floats, clusters: Sequence[str]) -> tuple[Floats, Floats]:
    """Sum and size of each cluster."""
    numbers = {name: number for number, name in enumerate(dict.fromkeys(clusters))}
    places = [numbers[name] for name in clusters]
    sizes = np.bincount(places).astype(np.float64)
    return np.bincount(places, weights=values).astype(np.float64), sizes
