"""Intervals and tests: how sure a score is, and whether two differ. SciPy and statsmodels compute.

Scores are per item: 1 right, 0 not (any number for a bootstrap). Where items repeat (several seeds
of one example, several questions on one document) they come in clusters, and whole clusters are
drawn: to treat them as independent makes every interval too narrow (Cameron and Miller, 2015, A
Practitioner's Guide to Cluster-Robust Inference, section II).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from statsmodels.regression.linear_model import OLS
from statsmodels.stats.contingency_tables import mcnemar as _mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

#: Of every interval, unless said otherwise.
LEVEL: Final = 0.95
#: Resamples of every bootstrap: the ends of a 95 % interval then rest on 250 of them each.
RESAMPLES: Final = 9_999

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A value and its confidence interval, from `n` items."""

    value: float
    low: float
    high: float
    n: int
    #: How the interval was made.
    method: str


@dataclass(frozen=True, kw_only=True)
class Difference:
    """What one strategy gains over another on the same items, and how likely chance does it."""

    #: Mean of one less mean of the other, with its interval.
    gain: Estimate
    #: Two-sided; None where nothing was compared.
    p: float | None
    test: str
    #: Items that one has right and the other has not, and the other way around.
    only_one: int
    only_other: int


def wilson(right: int, n: int, *, level: float = LEVEL) -> Estimate | None:
    """A share with Wilson's score interval (Wilson, 1927); None of no items."""
    if n == 0:
        return None
    low, high = proportion_confint(right, n, alpha=1 - level, method="wilson")
    value = right / n
    # Of none or all right, rounding can put an end a hair beyond the value.
    return Estimate(
        value=value, low=min(float(low), value), high=max(float(high), value), n=n, method="Wilson"
    )


def bootstrap_mean(
    values: Sequence[float], *, seed: int, level: float = LEVEL, resamples: int = RESAMPLES
) -> Estimate | None:
    """A mean with its bias-corrected and accelerated bootstrap interval (Efron, 1987).

    None of no values; of values that are all the same the interval is that value.
    """
    data = np.asarray(values, dtype=float)
    if not data.size:
        return None
    mean = float(data.mean())
    if np.ptp(data) == 0:
        return Estimate(value=mean, low=mean, high=mean, n=data.size, method="BCa bootstrap")
    found = stats.bootstrap(
        (data,), np.mean, confidence_level=level, n_resamples=resamples, method="BCa",
        batch=max(1, 2_000_000 // data.size), rng=np.random.default_rng(seed),
    ).confidence_interval  # fmt: skip
    return Estimate(
        value=mean,
        low=float(found.low),
        high=float(found.high),
        n=data.size,
        method="BCa bootstrap",
    )


def cluster_bootstrap_mean(
    values: Sequence[float],
    clusters: Sequence[str],
    *,
    seed: int,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
) -> Estimate | None:
    """A mean over all values, with a percentile interval over resampled clusters."""
    if not values:
        return None
    means = _cluster_means(values, clusters, seed, resamples)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(
        value=float(np.mean(values)),
        low=float(low),
        high=float(high),
        n=len(values),
        method=f"percentile bootstrap over {len(set(clusters))} clusters",
    )


def cluster_robust_error(values: Sequence[float], clusters: Sequence[str]) -> float:
    """The standard error of a mean whose items are dependent within clusters.

    The square root of G/(G-1) * sum over clusters of (sum of residuals)^2 / n^2 for G clusters.
    Raises ValueError for fewer than two clusters.
    """
    names = sorted(set(clusters))
    if len(names) < 2:
        raise ValueError("one cluster says nothing about how clusters differ")
    groups = np.asarray([names.index(cluster) for cluster in clusters])
    data = np.asarray(values, dtype=float)
    fit = OLS(data, np.ones_like(data)).fit(cov_type="cluster", cov_kwds={"groups": groups})
    return float(fit.bse[0])


def accuracy(
    right: Sequence[bool], clusters: Sequence[str] | None = None, *, seed: int
) -> Estimate | None:
    """The share of right items: Wilson's interval, or over clusters where some hold several."""
    if clusters is None or len(set(clusters)) == len(right):
        return wilson(sum(right), len(right))
    return cluster_bootstrap_mean([float(one) for one in right], clusters, seed=seed)


def mcnemar(only_one: int, only_other: int) -> float:
    """McNemar's exact p: of the items on which two differ, how uneven they are split (1947).

    Two-sided binomial test of `only_one` among both at one half; 1.0 where they never differ.
    """
    if only_one + only_other == 0:
        return 1.0
    table = [[0, only_one], [only_other, 0]]
    return float(_mcnemar(table, exact=True).pvalue)


def difference(
    one: Mapping[str, bool],
    other: Mapping[str, bool],
    *,
    seed: int,
    clusters: Mapping[str, str] | None = None,
    resamples: int = RESAMPLES,
) -> Difference | None:
    """What `one` gains over `other` on the items that both have; None where they share none.

    Independent items: McNemar's exact test, and a BCa bootstrap of the paired differences. Where
    `clusters` puts several items together: the paired bootstrap over clusters, for both.
    """
    shared = [item for item in one if item in other]
    if not shared:
        return None
    gains = [float(one[item]) - float(other[item]) for item in shared]
    only_one, only_other = gains.count(1.0), gains.count(-1.0)
    named = [clusters.get(item, item) for item in shared] if clusters else shared
    if len(set(named)) == len(shared):
        gain = bootstrap_mean(gains, seed=seed, resamples=resamples)
        p, test = mcnemar(only_one, only_other), "McNemar, exact"
    else:
        gain = cluster_bootstrap_mean(gains, named, seed=seed, resamples=resamples)
        p = paired_bootstrap_p(_cluster_means(gains, named, seed, resamples))
        test = "paired bootstrap over clusters"
    assert gain is not None
    return Difference(gain=gain, p=p, test=test, only_one=only_one, only_other=only_other)


def paired_bootstrap_p(means: Floats) -> float:
    """Two-sided: twice the smaller share of resampled mean differences on one side of zero.

    One is added above and below the line, so that no p is 0 (Davison and Hinkley, 1997, 4.2.5).
    """
    above, below = int(np.sum(means >= 0)), int(np.sum(means <= 0))
    return float(min(1.0, 2 * (min(above, below) + 1) / (means.size + 1)))


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """The p values corrected for their number, in their order (Holm, 1979). None stays None.

    The k-th smallest of m is multiplied by m - k + 1, and is at least the one before it.
    """
    told = [p for p in ps if p is not None]
    if not told:
        return list(ps)
    corrected = iter(multipletests(told, method="holm")[1])
    return [None if p is None else float(next(corrected)) for p in ps]


def _cluster_means(
    values: Sequence[float], clusters: Sequence[str], seed: int, resamples: int
) -> Floats:
    """The mean over all values of each resample of whole clusters."""
    sums: dict[str, list[float]] = {}
    for value, cluster in zip(values, clusters, strict=True):
        sums.setdefault(cluster, []).append(value)
    totals = np.asarray([sum(group) for group in sums.values()])
    sizes = np.asarray([len(group) for group in sums.values()])
    rng: Any = np.random.default_rng(seed)
    means = np.empty(resamples)
    step = max(1, 2_000_000 // len(sizes))
    for start in range(0, resamples, step):
        count = min(step, resamples - start)
        drawn = rng.integers(0, len(sizes), size=(count, len(sizes)))
        means[start : start + count] = totals[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    return means
