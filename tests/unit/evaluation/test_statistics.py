"""Statistics against hand-worked cases and textbooks: a wrong formula fails here.

Each test names its value and where the value comes from.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colm.evaluation.stats.statistics import (
    Estimate,
    PairedDifference,
    accuracy,
    difference,
    holm,
    mcnemar,
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


def test_accuracy_without_clusters_is_wilsons() -> None:
    right = [True] * 8 + [False] * 2
    assert accuracy(right) == wilson(8, 10)
    assert accuracy(right, [str(n) for n in range(10)]) == wilson(8, 10)


def test_a_difference_is_paired_and_counts_who_is_right_alone() -> None:
    # 12 items: both right 2, only one right 9, only the other 1. Gain (9 - 1) / 12.
    one = {str(n): n < 11 for n in range(12)}
    other = {str(n): n in (0, 1, 11) for n in range(12)}

    found = difference(one, {**other, "elsewhere": True}, seed=1)

    assert found is not None
    assert (found.only_first, found.only_second) == (9, 1)
    assert found.gain.value == pytest.approx(8 / 12)
    assert found.p == pytest.approx(22 / 1024)
    assert found.gain.low > 0 > difference(other, one, seed=1).gain.high  # type: ignore[union-attr]  # they share items
    assert difference({"a": True}, {"b": True}, seed=1) is None


def seeded(rights: Sequence[Sequence[bool]]) -> tuple[dict[str, bool], dict[str, str]]:
    """Items of questions under seeds, as "question/seed", and the question of each."""
    items = {f"{q}/{s}": right for q, of in enumerate(rights) for s, right in enumerate(of)}
    return items, {item: item.partition("/")[0] for item in items}


def told(
    one: dict[str, bool], other: dict[str, bool], clusters: dict[str, str]
) -> PairedDifference:
    found = difference(one, other, seed=1, clusters=clusters)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("questions", "p"), [(1, 1.0), (2, 0.5), (3, 0.25), (5, 0.0625), (6, 0.03125), (8, 0.0078125)]
)
def test_questions_that_one_always_has_right_are_as_many_tosses_of_a_coin(
    questions: int, p: float
) -> None:
    # 2 / 2^G for G questions, however many seeds. Below six nothing can be told: p above 0.05.
    one, clusters = seeded([[True] * 5] * questions)
    found = told(one, dict.fromkeys(one, False), clusters)

    assert found.p == pytest.approx(p)
    assert (found.gain.value, found.gain.clusters, found.gain.n) == (1.0, questions, 5 * questions)
    assert found.gain.high == 1.0
    assert (found.gain.low > 0) is (p < 0.05)
    assert found.gain.few is (questions < 6)


def test_one_question_says_nothing_of_a_difference() -> None:
    for rights in ([True] * 5, [True, True, False, True, False], [False] * 5):
        one, clusters = seeded([rights])
        found = told(one, dict.fromkeys(one, False), clusters)
        assert (found.p, found.gain.low, found.gain.high) == (1.0, -1.0, 1.0)


def test_a_difference_of_repeated_items_is_tested_over_clusters() -> None:
    # The same three examples under ten seeds: 30 items, 3 clusters. McNemar would see 20 against
    # 10 and say 0.099. Two against one is nothing: all of the 8 flips are as far from zero.
    one, clusters = seeded([[question != 2] * 10 for question in range(3)])
    found = told(one, {item: not right for item, right in one.items()}, clusters)

    assert found.test == "sign flips over clusters"
    assert found.p == pytest.approx(1.0)
    assert (found.only_first, found.only_second) == (20, 10)


def test_a_difference_has_to_pass_both_tests_where_clusters_are_enough() -> None:
    # Six questions, each won under one of five seeds. Sign flips: 2 / 2^6 = 0.03125. The two added
    # gain +-sqrt(1/5) of their five: mean 6/40, squares 6 * 0.25^2 + 1.48607^2 + 2.98607^2 = 11.5,
    # variance 8/7 * 11.5 / 40^2, t = 0.15 / 0.090633 = 1.65502 with 5 degrees of freedom: 0.159.
    one, clusters = seeded([[True] + [False] * 4] * 6)
    found = told(one, dict.fromkeys(one, False), clusters)

    assert found.test == "sign flips and t over clusters"
    assert found.p == pytest.approx(0.1588, abs=1e-4)
    assert found.gain.low == pytest.approx(0.15 - 2.570582 * 0.090633, abs=1e-5)


def test_an_interval_has_no_difference_in_it_where_the_test_finds_none() -> None:
    # 60 against 40 of 100: McNemar's p is 0.057, the t test's 0.047.
    won = {str(n): n < 60 for n in range(100)}
    found = difference(won, {item: not right for item, right in won.items()}, seed=1)
    assert found is not None
    assert found.p == pytest.approx(0.0569, abs=1e-4)
    assert found.gain.low == 0.0


def test_seeds_that_agree_add_nothing() -> None:
    rng = np.random.default_rng(4)
    won = rng.integers(-1, 2, 12)
    once, questions = seeded([[bool(w > 0)] for w in won])
    found = told(once, {i: bool(w < 0) for i, w in zip(once, won, strict=True)}, questions)
    one, clusters = seeded([[bool(w > 0)] * 9 for w in won])
    other, _ = seeded([[bool(w < 0)] * 9 for w in won])
    repeated = told(one, other, clusters)

    assert (repeated.gain.low, repeated.gain.high) == pytest.approx(
        (found.gain.low, found.gain.high)
    )
    assert repeated.p is not None
    assert found.p is not None
    assert repeated.p >= found.p > 0.05


def test_seeds_that_differ_narrow_an_interval() -> None:
    # Twelve questions, each of which one has right under three of five seeds, the other under two.
    one, clusters = seeded([[seed < 3 for seed in range(5)]] * 12)
    other, _ = seeded([[seed > 2 for seed in range(5)]] * 12)
    once, questions = seeded([[question < 7] for question in range(12)])
    alone = told(once, {item: not right for item, right in once.items()}, questions)
    found = told(one, other, clusters)

    assert (alone.gain.value, found.gain.value) == pytest.approx((1 / 6, 1 / 5))
    assert found.gain.high - found.gain.low < 0.6 * (alone.gain.high - alone.gain.low)


def test_an_accuracy_of_a_few_questions_that_are_all_right_is_not_known_exactly() -> None:
    # Clopper and Pearson: of G of G right the low end is 0.025^(1/G), whatever the seeds.
    for questions in (1, 2, 3, 5, 8, 20):
        found = accuracy([True] * 5 * questions, [str(n) for n in range(questions)] * 5)
        assert found is not None
        assert (found.low, found.high) == pytest.approx((0.025 ** (1 / questions), 1.0))
        missed = accuracy([False] * 5 * questions, [str(n) for n in range(questions)] * 5)
        assert missed is not None
        assert (missed.low, missed.high) == pytest.approx((0.0, 1 - found.low))


def test_repeating_every_item_does_not_narrow_an_interval_over_clusters() -> None:
    right = [True, False, True, True, False, True, False, False, True, True]
    items = [str(n) for n in range(10)]
    repeated = accuracy(right * 20, items * 20)
    careless = wilson(sum(right) * 20, 200)

    assert repeated is not None
    assert careless is not None
    # Clopper and Pearson (1934) for 6 of 10: 0.2624 to 0.8784.
    assert (repeated.low, repeated.high) == pytest.approx((0.2624, 0.8784), abs=1e-4)
    assert careless.high - careless.low < 0.5 * (repeated.high - repeated.low)
    assert (repeated.n, repeated.clusters) == (200, 10)
    assert "10 clusters" in repeated.method


def test_clusters_that_vary_within_tell_more_than_their_number() -> None:
    # Each of 40 questions is right under three of five seeds: no question is like all its seeds.
    spread = accuracy([seed < 3 for seed in range(5)] * 40, [str(n // 5) for n in range(200)])
    whole = accuracy(
        [n % 5 < 3 for n in range(40) for _ in range(5)], [str(n // 5) for n in range(200)]
    )
    items = wilson(120, 200)

    assert spread is not None
    assert whole is not None
    assert items is not None
    assert spread.value == whole.value == items.value == 0.6
    assert spread.high - spread.low < 0.6 * (whole.high - whole.low)
    assert spread.high - spread.low > items.high - items.low


@given(
    st.lists(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=7), max_size=9)
)
def test_no_interval_over_clusters_is_a_point_or_leaves_out_its_value(
    clusters: list[list[tuple[bool, bool]]],
) -> None:
    one, named = seeded([[a for a, _ in of] for of in clusters])
    other, _ = seeded([[b for _, b in of] for of in clusters])
    share = accuracy(list(one.values()), list(named.values()))
    found = difference(one, other, seed=1, clusters=named)
    if not clusters:
        assert share is None
        assert found is None
        return

    assert share is not None
    assert 0 <= share.low <= share.value <= share.high <= 1
    assert share.low < share.high
    assert found is not None
    assert found.p is not None
    assert -1 <= found.gain.low <= found.gain.value <= found.gain.high <= 1
    assert found.gain.low < found.gain.high
    assert 0 < found.p <= 1
    assert share.clusters == found.gain.clusters == len(clusters)
    # The test and the interval never contradict each other.
    if found.p > 0.05 or found.test != "McNemar, exact":
        assert (found.p > 0.05) == (found.gain.low <= 0 <= found.gain.high)
    back = difference(other, one, seed=1, clusters=named)
    assert back is not None
    assert back.p == pytest.approx(found.p)
    assert (back.gain.low, back.gain.high) == pytest.approx((-found.gain.high, -found.gain.low))


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
