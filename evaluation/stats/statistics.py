"""Intervals and tests: how sure a score is, and whether two differ. SciPy and statsmodels compute.

Scores are per item: right or not. Where items repeat (several seeds of one example, several
questions on one document) they come in clusters, and `colm.evaluation.stats.clusters` computes: to
treat them as independent makes every interval too narrow (Cameron and Miller, 2015, A
Practitioner's Guide to Cluster-Robust Inference, section II).
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

#: Of every interval, unless said otherwise.
LEVEL: Final = 0.95
#: With fewer clusters no test over them can find a difference: its p is at least 2 / 2^5 = 0.0625.
ENOUGH: Final = 6
#: Draws of a test that has too many cases to count them all.
RESAMPLES: Final = 9_999


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A value and its confidence interval, from `n` items."""

    value: float
    low: float
    high: float
    n: int
    #: How many of the items are independent, or the clusters that they come in.
    clusters: int
    #: How the interval was made.
    method: str

    @property
    def few(self) -> bool:
        """Whether the clusters are too few to say more than the interval does."""
        return self.clusters < ENOUGH


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
        value=value,
        low=min(float(low), value),
        high=max(float(high), value),
        n=n,
        clusters=n,
        method="Wilson",
    )


def accuracy(
    right: Sequence[bool], clusters: Sequence[str] | None = None, *, seed: int = 0
) -> Estimate | None:
    """The share of right items: Wilson's interval, or over clusters where some hold several.

    None of no items. Nothing is drawn: `seed` is there for callers that have one for all numbers.
    """
    del seed
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

    The interval is Student's over clusters. p is McNemar's exact one where items are independent,
    else that of sign flips, and no smaller than the t test's where they are enough for any: sign
    flips are exact where both are alike in every respect, and t holds where only their means are,
    as for one that gives an example the same answer under every seed and one that does not. The
    interval has no difference in it wherever p does not rule that out.
    """
    shared = [item for item in one if item in other]
    if not shared:
        return None
    gains = np.asarray([float(one[item]) - float(other[item]) for item in shared])
    only_one, only_other = int((gains > 0).sum()), int((gains < 0).sum())
    named = [clusters.get(item, item) for item in shared] if clusters else shared
    sums, sizes = _clustered(gains, named)
    low, high, by_t = gain_interval(sums, sizes, np.abs(gains).sum(), LEVEL)
    if len(sums) == len(shared):
        p, test = mcnemar(only_one, only_other), "McNemar, exact"
    else:
        p, test = sign_flip_p(sums, seed=seed, draws=resamples), "sign flips over clusters"
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
    return Difference(gain=gain, p=p, test=test, only_one=only_one, only_other=only_other)


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """The p values corrected for their number, in their order (Holm, 1979). None stays None.

    The k-th smallest of m is multiplied by m - k + 1, and is at least the one before it.
    """
    told = [p for p in ps if p is not None]
    if not told:
        return list(ps)
    corrected = iter(multipletests(told, method="holm")[1])
    return [None if p is None else float(next(corrected)) for p in ps]


def _clustered(values: Floats, clusters: Sequence[str]) -> tuple[Floats, Floats]:
    """The sum of each cluster's values, and how many it has."""
    numbers = {name: number for number, name in enumerate(dict.fromkeys(clusters))}
    places = [numbers[name] for name in clusters]
    sizes = np.bincount(places).astype(np.float64)
    return np.bincount(places, weights=values).astype(np.float64), sizes
