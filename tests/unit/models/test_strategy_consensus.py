"""What COPE decides on samples; and that replayed from stored samples it is what was live."""

from __future__ import annotations

from math import log
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from colm.models.messages import Query, Step
from colm.models.strategies.cope.consensus import (
    Replayed,
    Rule,
    Sample,
    chosen_plan,
    decide,
    replay,
    samples_of,
)
from colm.models.strategies.cope.strategy import rules_of
from tests.unit.examples import a_query
from tests.unit.simulation import Play, Reply, play

ALPHABET = ["red", "green", "blue", ""]


def said(*answers: str | None) -> list[Sample]:
    return [Sample(None if a is None else f"Answer: {a}") for a in answers]


@pytest.mark.parametrize(
    ("answers", "share", "members"),
    [
        (["a", "a", "b", "a"], 0.75, (0, 1, 3)),
        (["a", "b", "b", "a"], 0.5, (0, 3)),  # a tie: the one that came first
        (["a", None, None, None], 0.25, (0,)),  # what is missing is in the denominator
        (["a"], 0.25, (0,)),  # and so is what was never asked
        ([None, None], 0.0, ()),
        ([], 0.0, ()),
    ],
)
def test_consensus_is_the_share_of_all_n_that_gave_the_most_frequent_answer(
    answers: list[str | None], share: float, members: tuple[int, ...]
) -> None:
    verdict = decide(said(*answers), Rule(n=4, threshold=0.5))
    assert (verdict.confidence, verdict.members) == (share, members)
    assert verdict.accepted == (share >= 0.5)


def test_only_the_first_n_samples_vote() -> None:
    samples = said("a", "b", "b", "b")
    assert decide(samples, Rule(n=1, threshold=1)).members == (0,)
    assert decide(samples, Rule(n=4, threshold=0.75)).winner == 1


@pytest.mark.parametrize(
    ("kind", "answers", "size"),
    [
        ("math", [r"\boxed{\frac{1}{2}}", r"\boxed{0.5}", r"\boxed{2}"], 2),
        ("numeric", ["Answer: 1,000", "Answer: 1000.0", "Answer: 1001"], 2),
        ("choice", ["Answer: (B)", "Answer: b", "Answer: C"], 2),
    ],
)
def test_equal_answers_vote_together_however_they_are_written(
    kind: Any, answers: list[str], size: int
) -> None:
    verdict = decide([Sample(a) for a in answers], Rule(n=3, threshold=0, kind=kind))
    assert len(verdict.members) == size


def test_with_a_threshold_of_nothing_an_answer_is_still_needed() -> None:
    assert not decide(said(None, None), Rule(n=2, threshold=0)).accepted
    assert decide(said("a", None), Rule(n=2, threshold=0)).accepted


def test_by_tests_the_share_that_passes_counts_and_the_first_that_passes_is_the_answer() -> None:
    samples = [Sample("one", False), Sample("two", True), Sample("two", None), Sample("x", True)]
    rule = Rule(n=4, threshold=0.5, confidence="tests", kind="text")
    verdict = decide(samples, rule)
    assert (verdict.confidence, verdict.winner, verdict.members) == (0.5, 1, (1, 3))
    assert verdict.accepted
    assert not decide(samples, rule._replace(comparison=">")).accepted
    none = decide([Sample("one", False), Sample("two", None)], rule)
    assert (none.accepted, none.winner, none.members) == (False, 0, ())


def test_by_perplexity_the_least_surprising_sample_is_the_answer_if_it_is_low_enough() -> None:
    samples = [Sample("a", mean_logprob=-log(3)), Sample("b", mean_logprob=-log(2)), Sample("c")]
    rule = Rule(n=3, threshold=2.5, confidence="perplexity")
    verdict = decide(samples, rule)
    assert (verdict.accepted, verdict.winner, verdict.members) == (True, 1, (1,))
    assert verdict.confidence == pytest.approx(2)
    assert not decide(samples, rule._replace(threshold=1.5)).accepted
    assert not decide([Sample("c")], rule).accepted
    assert decide([Sample("c", mean_logprob=-1e9)], rule).confidence is not None


def test_a_plan_of_the_majority_is_drawn_by_the_seed_and_every_one_can_be() -> None:
    drawn = {chosen_plan(seed, (1, 4, 6)) for seed in range(60)}
    assert drawn == {1, 4, 6}
    assert chosen_plan(5, (1, 4, 6)) == chosen_plan(5, (1, 4, 6))
    assert chosen_plan(5, ()) is None


# Whatever the thresholds, a replayed query ends as the live one did.

replies = st.lists(st.sampled_from([*ALPHABET, None]), min_size=12, max_size=12)
shares = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])
signs = st.sampled_from([">=", ">"])
courses = st.sampled_from([[1, 2, 3], [1, 2], [2, 3], [1, 3]])

relaxed = settings(
    max_examples=80, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)


def a_cope(stages: list[int], n: int, t1: float, t2: float, comparison: str, **more: Any) -> Query:
    options = {
        "n": n, "t1": t1, "t2": t2, "comparison": comparison, "kind": "exact", "stages": stages,
        **more,
    }  # fmt: skip
    return a_query("ada", strategy="cope", options=options)


def saying(texts: list[str | None]) -> Any:
    """Each solution by its stage and index, whatever the plans; None: it fails."""

    def reply(step: Step) -> Reply:
        if step.act == "plan":
            return Reply(text="a plan")
        text = texts[(step.round - 1) * 4 + step.index]
        return Reply(error="no memory") if text is None else Reply(text=f"Answer: {text}")

    return reply


def stored(game: Play, stages: list[int]) -> dict[int, tuple[Sample, ...]]:
    return {stage: samples_of(game.life.state, stage) for stage in stages}


def ended(game: Play) -> Replayed:
    detail = game.answer.detail
    return Replayed(detail["stage"], detail["accepted"], game.answer.answer)


@relaxed
@given(replies, courses, st.integers(1, 4), shares, shares, signs, st.booleans())
def test_replayed_it_ends_where_it_ended_live(
    texts: list[str | None], stages: list[int], n: int, t1: float, t2: float, sign: str, plans: bool
) -> None:
    live = play(a_cope(stages, n, t1, t2, sign, plans=plans), saying(texts))
    night = play(a_cope(stages, 4, 1.0, 1.0, ">", plans=plans), saying(texts))
    assert {s.step.round for s in night.life.state.steps} == set(stages)
    rules = rules_of(live.life.query)
    assert replay(stored(night, stages), rules) == ended(live)


def test_the_replay_of_a_query_is_no_copy_of_its_answer() -> None:
    """The samples decide: others end otherwise."""
    query = a_cope([1, 2, 3], 4, 0.75, 0.5, ">=")
    rules = rules_of(query)
    samples = {1: said("a", "a", "a", "b"), 2: said("c", "d", "e", "e"), 3: said("f")}
    assert replay(samples, rules) == Replayed(1, True, "Answer: a")
    samples[1] = said("a", "b", "c", "d")
    assert replay(samples, rules) == Replayed(2, True, "Answer: e")
    samples[2] = said("c", "d", "e", "f")
    assert replay(samples, rules) == Replayed(3, True, "Answer: f")
    samples[3] = said(None)
    assert replay(samples, rules) == Replayed(2, False, "Answer: c")
    assert replay({}, rules) == Replayed(0, False, None)
