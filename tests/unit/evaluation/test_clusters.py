"""Statistics of a few clusters: the formulas by hand, and that level and coverage hold.

The simulations count: at no number of clusters, and no dependence within them, are there more false
alarms than one in twenty or fewer intervals with the truth in them than nineteen in twenty.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from statsmodels.regression.linear_model import OLS

from colm.evaluation.stats import clusters
from colm.evaluation.stats.clusters import (
    equal_clusters,
    gain_interval,
    share_interval,
    sign_flip_p,
    spread_of,
)
from colm.evaluation.stats.statistics import ENOUGH

Floats = NDArray[np.float64]

#: Of each simulated case, and how far three standard errors of a share of 0.05 reach.
RUNS = 1_000
ERROR = 3 * (0.05 * 0.95 / RUNS) ** 0.5


def floats(*values: float) -> Floats:
    return np.asarray(values, dtype=float)


def test_clusters_of_unequal_size_count_as_fewer_equal_ones() -> None:
    # Of nine items and one: 10^2 / (81 + 1). Of equal ones: all.
    assert equal_clusters(floats(9, 1)) == pytest.approx((100 / 82, 8.2))
    assert equal_clusters(floats(5, 5, 5)) == pytest.approx((3, 5))


def test_the_variance_is_the_cluster_robust_one_with_two_clusters_added() -> None:
    # statsmodels on the items themselves, with four of 1 and four of 0 as two more clusters.
    sums = floats(4, 3, 0, 2, 4)
    found = spread_of(sums, np.full(5, 4.0), 0.0, 1.0)

    items = [[1.0] * int(s) + [0.0] * (4 - int(s)) for s in (*sums, 4, 0)]
    data = np.concatenate(items)
    fit = OLS(data, np.ones_like(data)).fit(
        cov_type="cluster", cov_kwds={"groups": np.repeat(np.arange(7), 4)}
    )
    assert found.mean == pytest.approx(data.mean())
    assert np.sqrt(found.variance) == pytest.approx(float(fit.bse[0]))


def test_the_variance_by_hand() -> None:
    # Sums 2 and 0 of two items each, with 2 and 0 added: mean 1/2, residual sums +-1 four times.
    # G/(G-1) = 4/3; 4/3 * 4 / 8^2 = 1/12.
    found = spread_of(floats(2, 0), floats(2, 2), 0.0, 1.0)
    assert (found.mean, found.variance) == pytest.approx((1 / 2, 1 / 12))


def test_a_share_rests_on_as_many_items_as_its_clusters_are_worth() -> None:
    # 40 clusters of 5, all alike within: 40 items. Half of them wholly right is 20 of 40 by Clopper
    # and Pearson: 0.3380 to 0.6620.
    low, high, effective = share_interval(np.repeat(floats(5, 0), 20), np.full(40, 5.0), 0.95)
    assert effective == pytest.approx(40)
    assert (low, high) == pytest.approx((0.3380, 0.6620), abs=1e-4)
    # 40 clusters of 2 with one right in each: no cluster differs from another. Residual sums are 0
    # but for the two added, +-1: variance 42/41 * 2 / 84^2, 0.25 / that * 40/42 = 819.5, but no
    # more than 80 items; times (t79 / t39)^2 = (1.99045 / 2.02269)^2 for 39 degrees of freedom.
    _, _, effective = share_interval(np.ones(40), np.full(40, 2.0), 0.95)
    assert effective == pytest.approx(80 * (1.99045 / 2.02269) ** 2, rel=1e-4)
    # 10 of 5 right of 5, 10 of 0, 20 of 3. With two added 115 of 210 are right, mean 0.547619, and
    # residual squares 140.119: variance 42/41 * 140.119 / 210^2. 0.247732 / that * 40/42 = 72.489
    # items, times (t199 / t39)^2 = (1.971957 / 2.022691)^2.
    sums = np.repeat(floats(5, 0, 3), (10, 10, 20))
    _, _, effective = share_interval(sums, np.full(40, 5.0), 0.95)
    assert effective == pytest.approx(72.489 * (1.971957 / 2.022691) ** 2, rel=1e-4)


def test_a_gains_interval_is_students_over_cluster_means() -> None:
    # Seven clusters of 4 and the two added, of nine equal ones: their means' standard error, and
    # t with 6 degrees of freedom. 12 items moved; (9+1+4+0+9+1+4)/4 = 7 of them agree.
    sums = floats(3, 1, 2, 0, 3, -1, 2)
    end = (7 / 12) ** 0.5
    means = np.asarray([*(sums / 4), end, -end])
    low, high, p = gain_interval(sums, np.full(7, 4.0), np.asarray(12.0), 0.95)

    error = means.std(ddof=1) / 3
    assert (low, high) == pytest.approx(
        (means.mean() - 2.446912 * error, means.mean() + 2.446912 * error), abs=1e-6
    )
    assert p == pytest.approx(2 * stats.t.sf(means.mean() / error, 6))


def test_clusters_without_a_difference_leave_an_interval_and_not_a_point() -> None:
    # Nothing was seen to differ, so the two added are wholly won and wholly lost: squares 2 * 4^2,
    # 12/11 * 32 / 48^2 = 0.015152, t9 = 2.262157.
    low, high, p = gain_interval(np.zeros(10), np.full(10, 4.0), np.asarray(0.0), 0.95)
    assert (low, high) == pytest.approx((-2.262157 * 0.123091, 2.262157 * 0.123091), abs=1e-5)
    assert p == 1.0


def test_items_that_cancel_in_each_cluster_leave_an_interval_and_not_a_point() -> None:
    # As many won as lost in each of ten: the added clusters gain as four independent items do,
    # sqrt(4) of 4. Squares 2 * 2^2, 12/11 * 8 / 48^2 = 0.003788, t9 = 2.262157.
    low, high, p = gain_interval(np.zeros(10), np.full(10, 4.0), np.asarray(40.0), 0.95)
    assert (low, high) == pytest.approx((-2.262157 * 0.061546, 2.262157 * 0.061546), abs=1e-5)
    assert p == 1.0


def test_sign_flips_by_hand() -> None:
    # +-3 +-1 is 4, 2, -2 or -4: all four are as far from 0 as 2, two as far as 4.
    assert sign_flip_p(floats(3, -1), seed=0, resamples=9) == pytest.approx(1.0)
    assert sign_flip_p(floats(3, 1), seed=0, resamples=9) == pytest.approx(0.5)
    # What is 0 cannot be flipped.
    assert sign_flip_p(floats(3, 0, 1, 0), seed=0, resamples=9) == pytest.approx(0.5)
    assert sign_flip_p(np.zeros(4), seed=0, resamples=9) == 1.0


@given(st.lists(st.integers(-6, 6), min_size=2, max_size=9))
def test_sign_flips_are_those_that_scipy_counts(sums: list[int]) -> None:
    found = stats.permutation_test(
        (np.asarray(sums, dtype=float),), np.sum, permutation_type="samples", n_resamples=np.inf
    )
    assert sign_flip_p(floats(*sums), seed=0, resamples=9) == pytest.approx(min(1.0, found.pvalue))


@given(st.integers(0, 30), st.integers(0, 30))
def test_sign_flips_of_single_items_are_mcnemars_test(won: int, lost: int) -> None:
    exact = stats.binomtest(won, won + lost, 0.5).pvalue if won + lost else 1.0
    assert sign_flip_p(floats(*[1] * won, *[-1] * lost), seed=0, resamples=9) == pytest.approx(
        exact
    )


def test_what_is_too_much_to_count_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    sums = floats(*np.random.default_rng(6).integers(-5, 6, 300))
    exact = sign_flip_p(sums, seed=1, resamples=9_999)
    monkeypatch.setattr(clusters, "MAX_EXACT", 100)
    monkeypatch.setattr(clusters, "_AT_ONCE", 300 * 1_000)
    drawn = sign_flip_p(sums, seed=1, resamples=9_999)

    assert 0.001 < exact < 0.5
    assert drawn == pytest.approx(exact, abs=4 * (exact / 9_999) ** 0.5)
    assert drawn != exact
    assert sign_flip_p(sums, seed=1, resamples=9_999) == drawn
    # One is added, so that no p is 0.
    assert sign_flip_p(np.full(300, 5.0), seed=1, resamples=99) == pytest.approx(0.01)


def outcomes(
    rng: np.random.Generator, sizes: Floats, p: float, dependence: float, kind: str
) -> NDArray[np.bool_]:
    """RUNS times whether each item is right, p on average; the last axis is a cluster's items.

    `dependence` is the intra-cluster correlation: by a beta distribution over clusters, or ("some")
    by some clusters whose items are all alike among others whose items are independent.
    """
    shape = (RUNS, len(sizes), 1)
    alike = (rng.random(shape) < p).astype(float)
    if dependence in (0, 1):
        chance = alike if dependence else np.full(shape, p)
    elif kind == "beta":
        odds = (1 - dependence) / dependence
        chance = rng.beta(p * odds, (1 - p) * odds, shape)
    else:
        chance = np.where(rng.random(shape) < dependence, alike, p)
    there = np.arange(int(sizes.max())) < sizes[:, None]
    right: NDArray[np.bool_] = (rng.random((*shape[:2], there.shape[1])) < chance) & there
    return right


#: Clusters, from two to a hundred, under five seeds or of unequal size.
SIZES = {
    **{f"{count} of 5": np.full(count, 5.0) for count in (2, 3, 4, 5, 6, 8, 20, 100)},
    "8 unequal": floats(1, 2, 5, 1, 2, 5, 1, 9),
    "20, one of them large": floats(40, *[2] * 19),
}
DEPENDENCE = [(0.0, "beta"), (0.3, "beta"), (0.6, "some"), (1.0, "beta")]


@pytest.mark.parametrize("name", list(SIZES))
def test_intervals_of_shares_hold_the_truth(name: str) -> None:
    sizes, rng = SIZES[name], np.random.default_rng(11)
    for dependence, kind in DEPENDENCE:
        for p in (0.1, 0.5, 0.8):
            right = outcomes(rng, sizes, p, dependence, kind).sum(axis=-1).astype(float)
            low, high, _ = share_interval(right, sizes, 0.95)
            held = float(np.mean((low <= p) & (p <= high)))
            assert held >= 0.95 - ERROR, (dependence, kind, p)


@pytest.mark.parametrize("name", list(SIZES))
def test_no_difference_is_found_where_there_is_none(name: str) -> None:
    sizes, rng = SIZES[name], np.random.default_rng(12)
    cases = [(one, one) for one in DEPENDENCE]
    # One that says the same under every seed against one that draws anew.
    cases += [((1.0, "beta"), (0.3, "beta")), ((1.0, "beta"), (0.0, "beta"))]
    for one, other in cases:
        for p in (0.5, 0.9):
            sums, moved = gains(rng, sizes, (p, p), (one, other))
            assert np.mean(p_of_each(sums, sizes, moved) <= 0.05) <= 0.05 + ERROR, (one, other, p)


@pytest.mark.parametrize("name", list(SIZES))
def test_intervals_of_differences_hold_the_truth(name: str) -> None:
    sizes, rng = SIZES[name], np.random.default_rng(13)
    for one in DEPENDENCE:
        for p, q in ((0.7, 0.5), (0.9, 0.5), (0.8, 0.2)):
            sums, moved = gains(rng, sizes, (p, q), (one, one))
            low, high, _ = gain_interval(sums, sizes, moved, 0.95)
            held = float(np.mean((low <= p - q + 1e-9) & (p - q - 1e-9 <= high)))
            # Where whole clusters are alike gains lie on a coarse grid, which costs a percent.
            assert held >= 0.94 - ERROR, (one, p, q)


def test_a_difference_of_ten_points_is_found_among_a_hundred_questions() -> None:
    # The paired bootstrap, which finds too much among few, finds 0.70, 0.40 and 0.28 of these.
    rng, sizes = np.random.default_rng(14), np.full(100, 3.0)
    for dependence, power in ((0.0, 0.63), (0.5, 0.35), (1.0, 0.21)):
        sums, moved = gains(rng, sizes, (0.7, 0.6), ((dependence, "beta"),) * 2)
        assert np.mean(p_of_each(sums, sizes, moved) <= 0.05) >= power, dependence


def gains(
    rng: np.random.Generator,
    sizes: Floats,
    p: tuple[float, float],
    dependence: tuple[tuple[float, str], tuple[float, str]],
) -> tuple[Floats, Floats]:
    """What one gains over the other in each cluster, and in how many items they differ."""
    one, other = (
        outcomes(rng, sizes, chance, *how).astype(float)
        for chance, how in zip(p, dependence, strict=True)
    )
    return (one - other).sum(axis=-1), np.abs(one - other).sum(axis=(1, 2))


def p_of_each(sums: Floats, sizes: Floats, moved: Floats) -> Floats:
    """The p of each run, as `difference` tests it; sign flips only where they decide."""
    _, _, by_t = gain_interval(sums, sizes, moved, 0.95)
    if len(sizes) < ENOUGH:
        return np.asarray([flipped(tuple(sorted(run))) for run in sums])
    return np.asarray(
        [max(t, sign_flip_p(run, seed=0, resamples=99)) if t <= 0.05 else t
         for run, t in zip(sums, by_t, strict=True)]
    )  # fmt: skip


@cache
def flipped(sums: tuple[float, ...]) -> float:
    return sign_flip_p(np.asarray(sums), seed=0, resamples=99)
