"""Shares and differences of items that depend on each other: what a few clusters can tell. Pure.

A cluster is what is independent of the rest: an example with all its seeds, or the examples that a
data set puts together. What is drawn anew in another run are clusters, so their number decides, and
not that of their items. A bootstrap over few clusters is too narrow, and of one it is a point.

Sums and sizes of clusters come as arrays whose last axis is the clusters; axes before it are runs
apart, as a simulation has them.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

Floats = NDArray[np.float64]

#: Up to this sum of all clusters' differences the distribution over sign flips is computed whole,
#: which takes up to half a second; above it is drawn.
MOST_EXACT: Final = 10_000
#: Sign flips drawn at once: that many times clusters.
_AT_ONCE: Final = 2_000_000


class Spread(NamedTuple):
    """A mean over items, and how far it varies with the clusters that were drawn."""

    mean: Floats
    variance: Floats
    #: The number of equal clusters that would tell as much.
    clusters: float


def equal_clusters(sizes: Floats) -> tuple[float, float]:
    """How many clusters of one size tell as much as these, and that size.

    (sum n)^2 / (sum n^2) of them (Kish, 1965; Carter, Schnepel and Steigerwald, 2017).
    """
    items = float(sizes.sum())
    clusters = items**2 / float((sizes**2).sum())
    return clusters, items / clusters


def spread_of(sums: Floats, sizes: Floats, low: Floats | float, high: Floats | float) -> Spread:
    """Mean and variance after two clusters are added, whose items are all `low` and all `high`.

    The variance is the cluster-robust one of a mean (Cameron and Miller, 2015). Without the added
    clusters it is 0 where all clusters are alike, and far too small where nearly all are: they do
    what the added successes and failures do for items (Agresti and Coull, 1998; Agresti and Min,
    2005).
    """
    clusters, size = equal_clusters(sizes)
    total = float(sizes.sum()) + 2 * size
    mean = (sums.sum(axis=-1) + size * (low + high)) / total
    squares = ((sums - np.expand_dims(mean, -1) * sizes) ** 2).sum(axis=-1)
    squares = squares + size**2 * ((low - mean) ** 2 + (high - mean) ** 2)
    return Spread(mean, squares * (clusters + 2) / (clusters + 1) / total**2, clusters)


def share_interval(right: Floats, sizes: Floats, level: float) -> tuple[Floats, Floats, Floats]:
    """The ends of a share's interval, and the number of independent items it rests on.

    That of Clopper and Pearson (1934) on the items that would tell as much if they were
    independent, fewer where the variance rests on few clusters (Korn and Graubard, 1998): between
    the number of clusters, as if all items of each were one, and the number of items.
    """
    items = float(sizes.sum())
    found = spread_of(right, sizes, 0.0, 1.0)
    lost = found.clusters / (found.clusters + 2)  # the added clusters tell nothing
    alike = found.mean * (1 - found.mean) / found.variance * lost
    known = (_t(level, items - 1) / _t(level, found.clusters - 1)) ** 2
    effective = np.clip(np.minimum(alike, items) * known, found.clusters, items)
    share = right.sum(axis=-1) / items
    low, high = proportion_confint(share * effective, effective, alpha=1 - level, method="beta")
    return np.minimum(low, share), np.maximum(high, share), effective


def gain_interval(
    sums: Floats, sizes: Floats, moved: Floats, level: float
) -> tuple[Floats, Floats, Floats]:
    """The ends of the interval of a mean gain, and the p of none, by Student's t with one degree
    of freedom less than there are clusters. All that is possible, and 1, of a single cluster.

    Items gain 1, 0 or -1; `moved` is how many do not gain 0. The added clusters gain and lose as
    much as one with so many items whose gains agree as much as those that were seen: all of it
    where they always agree or none was seen, the square root of it where they are independent.
    """
    clusters, size = equal_clusters(sizes)
    agree = np.clip((sums**2 / sizes).sum(axis=-1) / np.maximum(moved, 1), 1 / size, 1.0)
    end = np.sqrt(np.where(moved > 0, agree, 1.0))
    found = spread_of(sums, sizes, -end, end)
    error, mean = np.sqrt(found.variance), sums.sum(axis=-1) / float(sizes.sum())
    half = _t(level, clusters - 1) * error
    low = np.clip(np.minimum(found.mean - half, mean), -1.0, 1.0)
    high = np.clip(np.maximum(found.mean + half, mean), -1.0, 1.0)
    if clusters <= 1:
        return low, high, np.ones_like(mean)
    return low, high, 2 * stats.t.sf(np.abs(found.mean) / error, clusters - 1)


def sign_flip_p(sums: Floats, *, seed: int, draws: int) -> float:
    """Two-sided p of the sum of clusters' differences, each of which is as likely of either sign.

    So it is where two strategies do equally well (Fisher, 1935), for whole clusters however few
    (Canay, Romano and Shaikh, 2017). With G clusters no p is below 2 / 2^G. `sums` are whole
    numbers. Exact up to MOST_EXACT; above, of `draws` flips, one of which is the one that was seen.
    """
    seen = abs(float(sums.sum()))
    moved = np.abs(sums[sums != 0]).astype(np.int64)
    reach = int(moved.sum())
    if reach > MOST_EXACT:
        return _drawn_p(moved, seen, np.random.default_rng(seed), draws)
    chance = np.ones(1)
    for step in moved:
        wider = np.zeros(len(chance) + 2 * step)
        wider[: len(chance)] = chance / 2
        wider[2 * step :] += chance / 2
        chance = wider
    far = np.abs(np.arange(-reach, reach + 1)) >= seen
    return float(min(1.0, chance[far].sum()))


def _drawn_p(moved: NDArray[np.int64], seen: float, rng: np.random.Generator, draws: int) -> float:
    far, step = 0, max(1, _AT_ONCE // len(moved))
    for start in range(0, draws, step):
        flips = rng.integers(0, 2, size=(min(step, draws - start), len(moved))) * 2 - 1
        far += int((np.abs(flips @ moved) >= seen).sum())
    return (far + 1) / (draws + 1)


def _t(level: float, free: float) -> float:
    """Student's quantile; infinite where nothing is free."""
    found = float(stats.t.ppf((1 + level) / 2, free)) if free > 0 else np.inf
    return found if found > 0 else np.inf
