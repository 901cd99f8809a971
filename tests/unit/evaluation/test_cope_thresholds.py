"""COPE replayed from stored samples is COPE as it would have run."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from colm.evaluation.stats.cope_thresholds import (
    StoredSamples,
    cost_to,
    full_sweep,
    nothing_stored,
    replayed,
    spread,
    stored_of,
    sweep,
)
from colm.evaluation.stats.costs import TokenPrice, cost_of
from colm.models.messages import Query, Step
from colm.models.strategies.cope.consensus import Comparison
from tests.unit.examples import a_query
from tests.unit.simulation import Play, Reply, Script, play

N = 4
PRICES = {"main": TokenPrice(input=2.0, output=8.0)}
THRESHOLDS = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])
COMPARISONS = st.sampled_from([">", ">="])
ANSWERS = st.lists(st.sampled_from(["1", "2", "3.0", "3", None]), min_size=N, max_size=N)


def a_cope(**options: Any) -> Query:
    return a_query("ada", strategy="cope", options={"n": N, "kind": "numeric", **options})


def script_of(first: list[str | None], second: list[str | None], last: str | None) -> Script:
    """The same samples whatever the thresholds are; None is a participant that fails."""

    def reply(step: Step) -> Reply:
        if step.act == "plan":
            return Reply(text=f"plan {step.index}")
        stages: list[list[str | None]] = [first, second, [last]]
        said = stages[step.round - 1][step.index]
        return Reply(error="out of memory") if said is None else Reply(text=f"Answer: {said}")

    return reply


def stored(game: Play) -> StoredSamples:
    return stored_of(
        game.life.state, kind="numeric", is_right=lambda text: text == "Answer: 3", prices=PRICES
    )


def all_stages(script: Script) -> StoredSamples:
    return stored(play(a_cope(t1=1, t2=1, comparison=">"), script))


@settings(deadline=None, max_examples=40)
@given(ANSWERS, ANSWERS, st.sampled_from(["3", None]), THRESHOLDS, THRESHOLDS, COMPARISONS)
@example(["1"] * N, [None] * N, None, 1.0, 1.0, ">")
def test_a_replayed_query_is_the_live_one(
    first: list[str | None],
    second: list[str | None],
    last: str | None,
    t1: float,
    t2: float,
    comparison: Comparison,
) -> None:
    script = script_of(first, second, last)
    live = play(a_cope(t1=t1, t2=t2, comparison=comparison), script).answer
    taken = all_stages(script)

    end = replayed(taken, t1, t2, N, comparison, "vote")

    assert (end.text, end.stage) == (live.answer, live.detail["stage"])
    assert end.accepted == live.detail["accepted"]
    assert cost_to(taken, end, N) == cost_of(live.ledger, PRICES)


@settings(deadline=None, max_examples=30)
@given(ANSWERS, st.sampled_from([1, 2, 3]))
def test_a_smaller_n_is_the_live_one_in_stage_1(first: list[str | None], n: int) -> None:
    script = script_of(first, ["1"] * N, "3")
    live = play(a_cope(n=n, t1=0.5), script).answer
    taken = all_stages(script)

    end = replayed(taken, 0.5, 0.5, n, ">=", "vote")

    assert (end.stage == 1) is (live.detail["stage"] == 1)
    if end.stage == 1:
        assert end.text == live.answer
        assert cost_to(taken, end, n) == cost_of(live.ledger, PRICES)


@settings(deadline=None, max_examples=30)
@given(ANSWERS, ANSWERS, st.floats(0, 1), st.integers(1, N))
def test_a_threshold_between_two_shares_ends_queries_as_the_higher_one(
    first: list[str | None], second: list[str | None], threshold: float, n: int
) -> None:
    taken = all_stages(script_of(first, second, "3"))
    shares = {point.t1 for point in full_sweep([taken], N, "vote") if point.n == n}
    higher = min(share for share in shares if share >= threshold)
    assert replayed(taken, threshold, threshold, n, ">=", "vote") == replayed(
        taken, higher, higher, n, ">=", "vote"
    )


@pytest.mark.parametrize(
    ("last", "most", "expected"),
    [(1, 4, [1]), (3, 4, [1, 2, 3]), (8, 4, [2, 4, 6, 8]), (10, 4, [3, 5, 8, 10])],
)
def test_few_of_many_numbers_are_spread_and_the_last_is_one(
    last: int, most: int, expected: list[int]
) -> None:
    assert spread(last, most) == expected


def test_the_surface_counts_ends_accuracy_and_cost_by_hand() -> None:
    # One question agrees in stage 1 (3 of 4 say 3), one in stage 2 (all say 1), one nowhere.
    questions = [
        all_stages(script_of(["3", "3", "1", "3.0"], ["3"] * 4, "3")),
        all_stages(script_of(["1", "2", "3", "4"], ["1"] * 4, "3")),
        all_stages(script_of(["1", "2", "1", "2"], ["1", "1", "2", "2"], "3")),
    ]

    point, strict = sweep(questions, t1s=[0.75, 1.0], t2s=[0.75], ns=[4])

    assert (point.t1, point.t2, point.n) == (0.75, 0.75, 4)
    assert point.ended == {0: 0, 1: 1, 2: 1, 3: 1}
    assert point.accuracy == pytest.approx(2 / 3)  # 3 is right: stage 1, stage 3; stage 2 says 1
    # Calls: 4 plans and 4 solutions; 1 guideline and 4 more; 1 more.
    assert point.calls == pytest.approx((8 + 13 + 14) / 3)
    assert strict.ended == {0: 0, 1: 0, 2: 2, 3: 1}
    assert strict.calls == pytest.approx((13 + 13 + 14) / 3)
    # In stage 2 the first question is right too, and only the server's tokens cost anything.
    assert strict.accuracy == point.accuracy
    assert 0 < point.dollars < strict.dollars


def test_a_question_that_lost_its_server_has_not_ended_in_stage_2() -> None:
    lost = all_stages(script_of(["1", "2", "1", "2"], ["1", "1", "3", "2"], None))
    strict, lax = sweep([lost], t1s=[1.0], t2s=[0.75, 0.5], ns=[4])

    assert strict.ended == {0: 1, 1: 0, 2: 0, 3: 0}
    assert lax.ended == {0: 0, 1: 0, 2: 1, 3: 0}


def test_a_surface_of_nothing_says_so() -> None:
    with pytest.raises(ValueError, match="no samples"):
        sweep([], t1s=[1], t2s=[1], ns=[1])


def test_equal_answers_are_graded_once_and_texts_without_one_on_their_own() -> None:
    graded: list[str] = []

    def is_right(text: str) -> bool:
        graded.append(text)
        return text != "Answer: who?"

    game = play(
        a_cope(t1=1, t2=1, comparison=">"), script_of(["3", "3.0", None, "1"], ["who?"] * 4, "3")
    )
    taken = stored_of(game.life.state, kind="numeric", is_right=is_right, prices={})

    assert graded == ["Answer: 3", "Answer: 1", "Answer: who?", "Answer: 3"]
    assert taken.right == {
        "Answer: 3": True, "Answer: 3.0": True, "Answer: 1": True, "Answer: who?": False,
    }  # fmt: skip


def test_a_question_that_could_not_be_asked_is_not_right_and_costs_nothing() -> None:
    asked = all_stages(script_of(["3"] * N, ["3"] * N, "3"))
    (point,) = sweep([asked, nothing_stored("q", "numeric")], t1s=[0], t2s=[0], ns=[N])
    assert (point.accuracy, point.ended[0], point.calls) == (0.5, 1, 2 * N / 2)
