"""Statistics against hand-worked cases and textbooks: a wrong formula fails here.

Each test names its value and where the value comes from.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.statistics import (
    Estimate,
    accuracy,
    bootstrap_mean,
    cluster_bootstrap_mean,
    cluster_robust_error,
    difference,
    holm,
    mcnemar,
    paired_bootstrap_p,
    wilson,
)


def test_wilsons_interval_is_that_of_the_textbook() -> None:
    # Newcombe (1998), Statistics in Medicine 17, table I, method 3 (score): 81 of 263 gives
    # 0.2553 to 0.3662, and 15 of 148 gives 0.0624 to 0.1605.
    for right, n, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605)):
        found = wilson(right, n)
        assert found is not None
        assert (round(found.low, 4), round(found.high, 4)) == (low, high)
        assert found.value == right / n


def test_wilsons_interval_by_hand() -> None:
    # 8 of 10, z = 1.959964: centre (p + z^2/2n) / (1 + z^2/n) = (0.8 + 0.192073) / 1.384146
    # = 0.716740; half z/(1 + z^2/n) * sqrt(p(1-p)/n + z^2/4n^2)
    # = 1.416010 * sqrt(0.016 + 0.0096036) = 0.226577.
    found = wilson(8, 10)
    assert found is not None
    assert found.low == pytest.approx(0.716740 - 0.226577, abs=2e-6)
    assert found.high == pytest.approx(0.716740 + 0.226577, abs=2e-6)


def test_wilsons_interval_of_all_right_is_no_point() -> None:
    # 10 of 10: low is 1 / (1 + z^2/n) = 1 / 1.384146 = 0.722467. Newcombe: never of zero width.
    found = wilson(10, 10)
    assert found is not None
    assert [found.low, found.high] == pytest.approx([0.722467, 1.0], abs=1e-6)
    assert wilson(0, 0) is None


def test_mcnemars_exact_p_by_hand() -> None:
    # 1 against 9: 2 * (C(10,0) + C(10,1)) / 2^10 = 22/1024.
    assert mcnemar(1, 9) == pytest.approx(22 / 1024)
    # 0 against 5: 2 / 2^5. 3 against 3: more than half of all on either side, so 1.
    assert mcnemar(0, 5) == pytest.approx(2 / 32)
    assert mcnemar(3, 3) == 1.0
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(9, 1) == mcnemar(1, 9)


def test_mcnemars_exact_p_of_a_textbook() -> None:
    # Fagerland, Lydersen and Laake (2013), BMC Med Res Methodol 13:91, table 3 (airway
    # hyper-responsiveness, 1 against 7 discordant pairs): exact conditional p = 0.0703.
    assert round(mcnemar(1, 7), 4) == 0.0703


def test_holms_correction_by_hand() -> None:
    # m = 4, sorted 0.005, 0.01, 0.03, 0.04: times 4, 3, 2, 1 is 0.02, 0.03, 0.06, 0.04, and no
    # smaller than the one before: 0.06 at the end.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holms_correction_leaves_out_what_was_not_tested() -> None:
    # m = 2: 0.01 * 2 and 0.5 * 1.
    corrected = holm([None, 0.5, 0.01])
    assert corrected[0] is None
    assert corrected[1:] == pytest.approx([0.5, 0.02])
    assert holm([None]) == [None]
    assert holm([0.9, 0.8]) == pytest.approx([1.0, 1.0])  # 0.8 * 2 is cut at 1


def test_a_bootstrap_of_many_values_is_that_of_the_normal_distribution() -> None:
    # The mean of 400 values with deviation s has the standard error s / 20: +-1.96 of that.
    values = np.random.default_rng(1).normal(10, 2, 400)
    found = bootstrap_mean(list(values), seed=7)

    assert found is not None
    half = 1.96 * values.std() / 20
    assert found.value == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - half, abs=0.25 * half)
    assert found.high == pytest.approx(values.mean() + half, abs=0.25 * half)


def test_a_bootstrap_is_corrected_for_skew() -> None:
    # BCa, unlike the percentile interval, reaches further on the side of the long tail.
    values = list(np.random.default_rng(2).exponential(1.0, 30))
    found = bootstrap_mean(values, seed=7)

    assert found is not None
    assert found.high - found.value > 1.2 * (found.value - found.low)


def test_a_bootstrap_is_repeatable_and_of_the_same_values_a_point() -> None:
    values = [0.0, 1.0, 1.0, 0.0, 1.0]
    assert bootstrap_mean(values, seed=3) == bootstrap_mean(values, seed=3)
    uneven = [0.1, 0.7, 1.3, 2.9, 3.1]
    assert bootstrap_mean(uneven, seed=3) != bootstrap_mean(uneven, seed=4)
    same = bootstrap_mean([2.0, 2.0], seed=1)
    assert same is not None
    assert (same.low, same.high) == (2.0, 2.0)
    assert bootstrap_mean([], seed=1) is None


def test_the_cluster_robust_error_by_hand() -> None:
    # Values 1, 1, 0 in a; 0, 0 in b; 1 in c. n = 6, mean 0.5. Residual sums: a 0.5, b -1.0,
    # c 0.5. G/(G-1) = 3/2. Variance 1.5 * (0.25 + 1 + 0.25) / 36 = 0.0625; error 0.25.
    # statsmodels also multiplies by (n-1)/(n-k) = 5/5.
    values = [1.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    clusters = ["a", "a", "a", "b", "b", "c"]

    assert cluster_robust_error(values, clusters) == pytest.approx(0.25)
    with pytest.raises(ValueError, match="one cluster"):
        cluster_robust_error([1.0, 0.0], ["a", "a"])


def test_the_error_of_single_items_is_the_usual_one() -> None:
    # Each its own cluster: sqrt(n/(n-1) * sum r^2 / n^2) = s / sqrt(n), s with n - 1.
    values = [1.0, 0.0, 1.0, 1.0]
    usual = np.std(values, ddof=1) / math.sqrt(4)

    assert cluster_robust_error(values, ["a", "b", "c", "d"]) == pytest.approx(usual)


def test_repeating_every_item_does_not_narrow_an_interval_over_clusters() -> None:
    right = [True, False, True, True, False, True, False, False, True, True]
    items = [str(n) for n in range(10)]
    once = cluster_bootstrap_mean([float(r) for r in right], items, seed=1)
    repeated = accuracy(right * 20, items * 20, seed=1)
    careless = wilson(sum(right) * 20, 200)

    assert once is not None
    assert repeated is not None
    assert careless is not None
    assert (repeated.low, repeated.high) == pytest.approx((once.low, once.high))
    assert careless.high - careless.low < 0.5 * (repeated.high - repeated.low)
    assert "10 clusters" in repeated.method


def test_a_percentile_interval_leaves_out_one_in_forty_on_each_side() -> None:
    # 400 clusters of one: the mean is nearly normal with the error s / 20, and 1.96 of that is
    # the end. At 90 % it is 1.645 of it, 16 % nearer.
    values = np.random.default_rng(3).normal(0, 1, 400)
    found = cluster_bootstrap_mean(list(values), [str(n) for n in range(400)], seed=1)

    assert found is not None
    half = 1.96 * values.std() / 20
    assert found.high - found.value == pytest.approx(half, rel=0.06)
    assert found.value - found.low == pytest.approx(half, rel=0.06)


def test_clusters_of_unequal_size_are_weighed_by_their_items() -> None:
    # Nine items of 1 in one cluster and one of 0 in another: the mean is 0.9, not 0.5. Of two
    # clusters a quarter of the resamples draws one twice: 1, or 0.
    found = cluster_bootstrap_mean([1.0] * 9 + [0.0], ["a"] * 9 + ["b"], seed=1)
    assert found is not None
    assert (found.value, found.low, found.high) == (0.9, 0.0, 1.0)
    # Half of them draw each once: 9 of 10 items, which is all between the quantiles 0.3 and 0.7.
    middle = cluster_bootstrap_mean([1.0] * 9 + [0.0], ["a"] * 9 + ["b"], seed=1, level=0.4)
    assert middle is not None
    assert (middle.low, middle.high) == (0.9, 0.9)


def test_accuracy_without_clusters_is_wilsons() -> None:
    right = [True] * 8 + [False] * 2
    assert accuracy(right, seed=1) == wilson(8, 10)
    assert accuracy(right, [str(n) for n in range(10)], seed=1) == wilson(8, 10)


def test_a_difference_is_paired_and_counts_who_is_right_alone() -> None:
    # 12 items: both right 2, only one right 9, only the other 1. Gain (9 - 1) / 12.
    one = {str(n): n < 11 for n in range(12)}
    other = {str(n): n in (0, 1, 11) for n in range(12)}

    found = difference(one, {**other, "elsewhere": True}, seed=1)

    assert found is not None
    assert (found.only_one, found.only_other) == (9, 1)
    assert found.gain.value == pytest.approx(8 / 12)
    assert found.p == pytest.approx(22 / 1024)
    assert found.gain.low > 0 > difference(other, one, seed=1).gain.high  # type: ignore[union-attr]  # they share items
    assert difference({"a": True}, {"b": True}, seed=1) is None


def test_a_difference_of_repeated_items_is_tested_over_clusters() -> None:
    # The same three examples under ten seeds: 30 items, 3 clusters. McNemar would see 20 against
    # 10 and say 0.099; over clusters two against one is nothing.
    one = {f"{e}/{s}": e != 2 for e in range(3) for s in range(10)}
    other = {item: not right for item, right in one.items()}
    clusters = {item: item.partition("/")[0] for item in one}

    found = difference(one, other, seed=1, clusters=clusters)

    assert found is not None
    assert found.test == "paired bootstrap over clusters"
    # Of 27 equally likely draws the gain is <= 0 where 2 or 3 of 3 are the bad example: 7/27.
    assert found.p == pytest.approx(2 * 7 / 27, abs=0.02)


def test_the_paired_bootstraps_p_by_hand() -> None:
    # Of 99 means 4 are below 0: 2 * (4 + 1) / (99 + 1) = 0.1. Never 0, never above 1.
    assert paired_bootstrap_p(np.asarray([-1.0] * 4 + [1.0] * 95)) == pytest.approx(0.1)
    assert paired_bootstrap_p(np.ones(99)) == pytest.approx(0.02)
    assert paired_bootstrap_p(np.zeros(99)) == 1.0


@given(st.integers(0, 60), st.integers(1, 60))
def test_every_interval_holds_its_value_and_lies_in_bounds(right: int, more: int) -> None:
    found = wilson(right, right + more)
    assert isinstance(found, Estimate)
    assert 0 <= found.low <= found.value <= found.high <= 1


@given(st.integers(0, 40), st.integers(0, 40))
def test_mcnemars_p_is_the_binomial_one(one: int, other: int) -> None:
    n, k = one + other, min(one, other)
    tail = sum(math.comb(n, i) for i in range(k + 1)) / 2**n
    assert mcnemar(one, other) == pytest.approx(min(1.0, 2 * tail))


def test_nineteen_of_twenty_intervals_hold_the_truth() -> None:
    # Coverage: of 400 samples of 50 coins at 0.3 about 95 % of Wilson's intervals hold 0.3.
    drawn = np.random.default_rng(5).binomial(50, 0.3, 400)
    held = sum(1 for k in drawn if (e := wilson(int(k), 50)) and e.low <= 0.3 <= e.high)
    assert 0.92 <= held / 400 <= 0.98
