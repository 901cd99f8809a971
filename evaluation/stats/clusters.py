"""Shares and differences of clustered items. Pure.

A cluster is independent of the others: an example with all its seeds, or examples that a data set
groups. Precision depends on the number of clusters, not of items; a bootstrap over few clusters is
too narrow.

Sums and sizes are arrays whose last axis is the clusters; axes before it are simulated runs.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

Floats = NDArray[np.float64]

#: Up to this sum of absolute differences the sign-flip distribution is computed exactly (half a
#: second at most); above, it is sampled.
MAX_EXACT: Final = 10_000
#: Sign flips times clusters in one batch.
_AT_ONCE: Final = 2_000_000


class Spread(NamedTuple):
    """A mean over items and its cluster-robust variance."""

    mean: Floats
    variance: Floats
    #: The equivalent number of equal clusters.
    clusters: float


def equal_clusters(sizes: Floats) -> tuple[float, float]:
    """The equivalent number of equal clusters, (sum n)^2 / (sum n^2), and their size.

    Kish (1965); Carter, Schnepel and Steigerwald (2017).
    """
    items = float(sizes.sum())
    clusters = items**2 / float((sizes**2).sum())
    return clusters, items / clusters


def spread_of(sums: Floats, sizes: Floats, low: Floats | float, high: Floats | float) -> Spread:
    """Mean and variance after two clusters are added: all items `low`, and all items `high`.

    The variance is cluster-robust (Cameron and Miller, 2015). Without the added clusters it would
    be 0 for equal clusters; they act as the added successes and failures of Agresti and Coull
    (1998) and Agresti and Min (2005).
    """
    clusters, size = equal_clusters(sizes)
    total = float(sizes.sum()) + 2 * size
    mean = (sums.sum(axis=-1) + size * (low + high)) / total
    squares = ((sums - np.expand_dims(mean, -1) * sizes) ** 2).sum(axis=-1)
    squares = squares + size**2 * ((low - mean) ** 2 + (high - mean) ** 2)
    return Spread(mean, squares * (clusters + 2) / (clusters + 1) / total**2, clusters)


def share_interval(right: Floats, sizes: Floats, level: float) -> tuple[Floats, Floats, Floats]:
    """The ends of a share's interval, and its effective number of independent items.

    Clopper and Pearson (1934) on the effective sample size of Korn and Graubard (1998), between the
    number of clusters and the number of items.
    """
    items = float(sizes.sum())
    spread = spread_of(right, sizes, 0.0, 1.0)
    lost = spread.clusters / (spread.clusters + 2)  # the added clusters carry no information
    alike = spread.mean * (1 - spread.mean) / spread.variance * lost
    t_ratio = (_t(level, items - 1) / _t(level, spread.clusters - 1)) ** 2
    effective = np.clip(np.minimum(alike, items) * t_ratio, spread.clusters, items)
    share = right.sum(axis=-1) / items
    low, high = proportion_confint(share * effective, effective, alpha=1 - level, method="beta")
    return np.minimum(low, share), np.maximum(high, share), effective


def gain_interval(
    sums: Floats, sizes: Floats, moved: Floats, level: float
) -> tuple[Floats, Floats, Floats]:
    """The ends of a mean gain's interval, and the p of no gain, by Student's t over clusters.

    Items gain 1, 0 or -1; `moved` counts those that do not gain 0. The two added clusters gain and
    lose as much as a cluster whose items agree as much as the observed ones. A single cluster gives
    [-1, 1] and p = 1.
    """
    clusters, size = equal_clusters(sizes)
    agree = np.clip((sums**2 / sizes).sum(axis=-1) / np.maximum(moved, 1), 1 / size, 1.0)
    end = np.sqrt(np.where(moved > 0, agree, 1.0))
    spread = spread_of(sums, sizes, -end, end)
    error, mean = np.sqrt(spread.variance), sums.sum(axis=-1) / float(sizes.sum())
    half = _t(level, clusters - 1) * error
    low = np.clip(np.minimum(spread.mean - half, mean), -1.0, 1.0)
    high = np.clip(np.maximum(spread.mean + half, mean), -1.0, 1.0)
    if clusters <= 1:
        return low, high, np.ones_like(mean)
    return low, high, 2 * stats.t.sf(np.abs(spread.mean) / error, clusters - 1)


def sign_flip_p(sums: Floats, *, seed: int, resamples: int) -> float:
    """Two-sided p of the summed differences of clusters under random signs.

    Fisher (1935); for few clusters Canay, Romano and Shaikh (2017). With G clusters p is at least
    2 / 2^G. `sums` are integers. Exact up to MAX_EXACT, else from `resamples` sampled flips.
    """
    observed = abs(float(sums.sum()))
    moved = np.abs(sums[sums != 0]).astype(np.int64)
    reach = int(moved.sum())
    if reach > MAX_EXACT:
        return _sampled_p(moved, observed, np.random.default_rng(seed), resamples)
    chance = np.ones(1)
    for step in moved:
        wider = np.zeros(len(chance) + 2 * step)
        wider[: len(chance)] = chance / 2
        wider[2 * step :] += chance / 2
        chance = wider
    far = np.abs(np.arange(-reach, reach + 1)) >= observed
    return float(min(1.0, chance[far].sum()))


def _sampled_p(
    moved: NDArray[np.int64], observed: float, rng: np.random.Generator, resamples: int
) -> float:
    far, step = 0, max(1, _AT_ONCE // len(moved))
    for start in range(0, resamples, step):
        flips = rng.integers(0, 2, size=(min(step, resamples - start), len(moved))) * 2 - 1
        far += int((np.abs(flips @ moved) >= observed).sum())
    return (far + 1) / (resamples + 1)


def _t(level: float, free: float) -> float:
    """Student's two-sided quantile; infinite without degrees of freedom."""
    quantile = float(stats.t.ppf((1 + level) / 2, free)) if free > 0 else np.inf
    return quantile if quantile > 0 else np.inf
