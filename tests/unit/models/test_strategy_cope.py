"""The strategy `cope`, stage by stage: arXiv 2506.11578 and docs/reference/strategies.md."""

from __future__ import annotations

from collections import Counter
from math import exp
from typing import Any

import pytest

from colm.models.errors import InvalidAsk
from colm.models.messages import Query, Step
from colm.models.roster import make_request
from colm.models.sandbox.protocol import CheckReport, read_request
from colm.models.strategies import STRATEGIES
from colm.models.strategies.cope.consensus import chosen_plan
from tests.unit.examples import NOW, a_query, seconds
from tests.unit.simulation import Reply, Script, answering, play


def a_cope(*clients: str, **options: Any) -> Query:
    given = {"n": 4, "kind": "exact", **options}
    return a_query(*(clients or ("ada", "bo")), strategy="cope", options=given)


def solving(
    *stages: list[str], final: str = "Answer: last", broken: tuple[str, ...] = ()
) -> Script:
    """Solutions by stage and index; everything else with something of its own."""

    def reply(step: Step) -> Reply | None:
        if f"{step.act} {step.round} {step.participant}" in broken:
            return Reply(error="out of memory")
        if step.act not in ("solve", "draft"):
            return Reply(text=f"plan {step.index} of {step.participant}")
        if step.round == 3:
            return Reply(text=final)
        return Reply(text=f"Answer: {stages[step.round - 1][step.index]}")

    return reply


AGREED, SPLIT, APART = ["x", "x", "x", "y"], ["a", "b", "x", "x"], ["a", "b", "c", "d"]


def test_stage_1_is_n_plans_and_a_solution_for_each_and_ends_where_they_agree() -> None:
    game = play(a_cope(), solving(AGREED))
    assert [(s.act, s.participant, s.index) for s in game.asked] == [
        *(("plan", "ada", i) for i in range(4)), *(("solve", "ada", i) for i in range(4)),
    ]  # fmt: skip
    for step in game.steps("solve"):
        assert f"plan {step.index} of ada" in step.messages[-1].content
    answer = game.answer
    assert (answer.answer, answer.chosen) == ("Answer: x", "ada")
    assert (answer.detail["stage"], answer.detail["accepted"]) == (1, True)
    assert not answer.degraded


def test_stage_2_shows_one_plan_of_the_majority_and_the_guideline_to_all_n() -> None:
    game = play(a_cope(), solving(SPLIT, AGREED))
    drawn = chosen_plan(7, (2, 3))
    assert drawn in (2, 3)
    assert game.who("plan", 2) == ["main"]
    assert game.who("solve", 2) == ["ada"] * 4
    for step in game.steps("solve", 2):
        assert f"plan {drawn} of ada" in step.messages[-1].content
        assert "plan 0 of main" in step.messages[-1].content
    assert game.answer.answer == "Answer: x"
    assert game.answer.detail["goal"] == f"plan {drawn} of ada"
    assert game.answer.detail["guideline"] == "plan 0 of main"
    assert [s["deferred"] for s in game.answer.detail["stages"]] == [True, False]


def test_stage_3_is_the_server_with_its_own_guideline_alone_once_and_greedily() -> None:
    game = play(a_cope(), solving(SPLIT, APART))
    (last,) = game.steps("solve", 3)
    assert (last.participant, last.role, last.sampling.temperature) == ("main", "server", 0)
    assert "plan 0 of main" in last.messages[-1].content
    assert "of ada" not in last.messages[-1].content
    assert (game.answer.answer, game.answer.chosen) == ("Answer: last", "main")
    assert game.answer.detail["stage"] == 3


def test_the_worst_case_is_the_papers_26_calls() -> None:
    different = [f"word{i}" for i in range(8)]
    game = play(a_cope(n=8), solving(different, different))
    assert len(game.asked) == 26
    assert Counter((s.act, s.role) for s in game.asked) == {
        ("plan", "client"): 8, ("solve", "client"): 16,
        ("plan", "server"): 1, ("solve", "server"): 1,
    }  # fmt: skip


def test_plan_tokens_stand_apart_from_answer_tokens_in_the_ledger() -> None:
    ledger = play(a_cope(), solving(SPLIT, APART)).answer.ledger
    assert [(s.participant, s.act, s.calls, s.completion) for s in ledger] == [
        ("ada", "plan", 4, 12), ("ada", "solve", 8, 24), ("main", "plan", 1, 3),
        ("main", "solve", 1, 3),
    ]  # fmt: skip


def test_temperatures_and_limits_are_those_of_the_role_and_the_stage() -> None:
    game = play(a_cope(max_plan_tokens=50, max_answer_tokens=90), solving(SPLIT, APART))
    found = {(s.act, s.round): s.sampling for s in game.asked}
    assert {k: v.temperature for k, v in found.items()} == {
        ("plan", 1): 0.8, ("solve", 1): 0.4, ("plan", 2): 0.8, ("solve", 2): 0.8, ("solve", 3): 0.0,
    }  # fmt: skip
    assert {k[0]: v.max_new_tokens for k, v in found.items()} == {"plan": 50, "solve": 90}


@pytest.mark.parametrize(("comparison", "stage"), [(">=", 1), (">", 2)])
def test_a_consensus_of_exactly_the_threshold_is_accepted_as_the_option_says(
    comparison: str, stage: int
) -> None:
    game = play(a_cope(comparison=comparison), solving(AGREED, AGREED))
    assert game.answer.detail["stages"][0]["confidence"] == 0.75
    assert game.answer.detail["stage"] == stage


def test_samples_that_fail_agree_with_nobody_but_count_in_the_denominator() -> None:
    def reply(step: Step) -> Reply | None:
        if step.act == "solve" and step.round == 1 and step.index > 1:
            return Reply(error="out of memory") if step.index == 2 else None
        return solving(["x", "x", "", ""], AGREED)(step)

    answer = play(a_cope(), reply).answer
    first = answer.detail["stages"][0]
    assert (first["confidence"], first["answers"]) == (0.5, ["x", "x", None, None])
    assert answer.detail["stage"] == 2
    assert answer.degraded
    assert "2 of 4 of the act solve never came from ada" in answer.notes[0]


def test_a_plan_that_failed_has_no_solution() -> None:
    def reply(step: Step) -> Reply | None:
        failed = (step.act, step.round, step.index) == ("plan", 1, 0)
        return Reply(error="out of memory") if failed else solving(AGREED, AGREED)(step)

    game = play(a_cope(), reply)
    assert [s.index for s in game.steps("solve", 1)] == [1, 2, 3]
    assert game.answer.detail["stages"][0]["confidence"] == 0.5


def test_a_plan_without_text_is_no_plan_and_its_problem_is_solved_all_the_same() -> None:
    def reply(step: Step) -> Reply | None:
        empty = (step.act, step.round, step.index) == ("plan", 1, 0)
        return Reply(error="no text", kind="NoText") if empty else solving(AGREED, AGREED)(step)

    game = play(a_cope(), reply)
    assert [s.index for s in game.steps("solve", 1)] == [0, 1, 2, 3]
    assert "<goal>" not in game.steps("solve", 1)[0].messages[-1].content
    assert game.answer.detail["stages"][0]["confidence"] == 0.75


def test_without_a_guideline_the_stages_go_on_and_nobody_asks_for_it_again() -> None:
    game = play(a_cope(), solving(SPLIT, APART, broken=("plan 2 main",)))
    assert game.who("plan") == ["ada"] * 4 + ["main"]
    assert "<guideline>" not in game.steps("solve", 3)[0].messages[-1].content
    assert game.answer.answer == "Answer: last"
    assert game.answer.degraded


def test_a_client_that_lets_everything_expire_is_not_waited_for_again() -> None:
    def only_main(step: Step) -> Reply | None:
        return answering(step) if step.role == "server" else None

    game = play(a_cope(), only_main)
    assert game.who("solve") == ["main"]
    assert game.answer.answer == "solve 3 of main"
    assert game.answer.ended_at < NOW + seconds(120 + 10)


def test_where_the_server_fails_in_stage_3_the_latest_majority_is_the_answer() -> None:
    halves = ["a", "b", "z", "z"]
    game = play(a_cope(t2=0.75), solving(SPLIT, halves, broken=("solve 3 main",)))
    answer = game.answer
    assert (answer.answer, answer.chosen) == ("Answer: z", "ada")
    assert (answer.detail["stage"], answer.detail["accepted"]) == (2, False)
    assert answer.degraded


def test_where_nothing_ever_comes_the_query_fails_with_the_reasons() -> None:
    answer = play(a_cope(), lambda _: None).answer
    assert answer.status == "failed"
    assert "4 of 4 of the act plan never came from ada" in str(answer.reason)


@pytest.mark.parametrize(
    ("stages", "acts", "answer"),
    [
        ([1, 2], {("plan", 1): 4, ("solve", 1): 4, ("plan", 2): 1, ("solve", 2): 4}, "Answer: z"),
        ([2, 3], {("plan", 2): 1, ("solve", 2): 4, ("solve", 3): 1}, "Answer: last"),
        (
            [1, 3],
            {("plan", 1): 4, ("solve", 1): 4, ("plan", 3): 1, ("solve", 3): 1},
            "Answer: last",
        ),
        ([3], {("plan", 3): 1, ("solve", 3): 1}, "Answer: last"),
    ],
)
def test_truncated_it_goes_through_those_stages_only(
    stages: list[int], acts: dict[tuple[str, int], int], answer: str
) -> None:
    query = a_cope(stages=stages, t2=0.75)
    game = play(query, solving(SPLIT, ["a", "b", "z", "z"]))
    assert Counter((s.act, s.round) for s in game.asked) == acts
    assert game.answer.answer == answer


def test_without_plans_the_samples_are_drafts_of_the_bare_question() -> None:
    game = play(a_cope(plans=False), solving(SPLIT, APART))
    assert Counter((s.act, s.round, s.role) for s in game.asked) == {
        ("draft", 1, "client"): 4, ("draft", 2, "client"): 4, ("draft", 3, "server"): 1,
    }  # fmt: skip


def test_the_client_can_be_named() -> None:
    assert set(play(a_cope("ada", "bo", client="bo"), solving(AGREED)).who("solve")) == {"bo"}


@pytest.mark.parametrize(
    ("options", "changes", "complaint"),
    [
        ({"client": "main"}, {}, "'main' is not a client of this query"),
        ({}, {"clients": []}, "at least one client"),
        ({}, {"server": None}, "needs a server beyond stage 1"),
        ({"confidence": "tests"}, {}, "needs tests and checker: the visible"),
    ],
)
def test_what_cannot_be_carried_is_refused(
    options: dict[str, Any], changes: dict[str, Any], complaint: str
) -> None:
    query = a_query("ada", **{"strategy": "cope", "options": options, **changes})
    with pytest.raises(InvalidAsk, match=complaint):
        STRATEGIES["cope"].check(query)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"stages": [2, 1]}, "stages must ascend without repeats"),
        ({"stages": [1, 1]}, "stages must ascend without repeats"),
        ({"stages": []}, "stages"),
        ({"plan_temperatures": [0.8, -1]}, "from 0 to 5"),
        ({"solve_temperatures": [0.4, 0.8]}, "solve_temperatures"),
        ({"t1": 1.1}, "t1"),
    ],
)
def test_an_option_out_of_range_is_refused_in_words(
    options: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(InvalidAsk, match=complaint):
        make_request("Why?", {"strategy": "cope", **options})


def test_stage_1_alone_needs_no_server() -> None:
    STRATEGIES["cope"].check(a_query("ada", strategy="cope", options={"stages": [1]}, server=None))


# Confidence by visible tests

CODE = {0: "```python\nf = 1\n```", 1: "```python\nf = 2\n```", 2: "no code here", 3: "f = 2"}


def a_coder(**options: Any) -> Query:
    given = {"confidence": "tests", "tests": "assert f == 2", "checker": "box", "kind": "code"}
    return a_cope(**(given | options))


def running(step: Step) -> Reply:
    """Solutions from `CODE`, and a sandbox that does what the real one would."""
    if step.act == "solve":
        return Reply(text=CODE[step.index])
    if step.act != "check":
        return answering(step)
    asked = read_request(step.messages[-1].content)
    passed = "f = 2" in asked.code and asked.tests == "assert f == 2"
    return Reply(text=CheckReport(
        passed=passed, status="passed" if passed else "failed", reason="", seconds=0
    ).model_dump_json())  # fmt: skip


def test_each_solution_with_code_is_checked_and_the_first_that_passes_is_the_answer() -> None:
    game = play(a_coder(t1=0.5), running)
    assert [(s.participant, s.role, s.index) for s in game.steps("check")] == [
        ("box", "server", 0), ("box", "server", 1), ("box", "server", 3),
    ]  # fmt: skip
    assert game.answer.detail["stages"][0]["confidence"] == 0.5
    assert game.answer.detail["stages"][0]["members"] == [1, 3]
    assert (game.answer.answer, game.answer.chosen) == (CODE[1], "ada")
    assert "share that passes 0.5" in str(game.answer.chosen_because)


def test_a_sandbox_that_is_down_passes_nothing_and_the_stages_go_on() -> None:
    def reply(step: Step) -> Reply | None:
        return None if step.act == "check" else running(step)

    game = play(a_coder(), reply)
    assert game.answer.detail["stage"] == 3
    assert game.answer.chosen == "main"
    assert "3 of 3 of the act check never came from box" in " ".join(game.answer.notes)


def test_a_server_that_is_no_sandbox_passes_nothing() -> None:
    def reply(step: Step) -> Reply:
        return Reply(text="passed") if step.act == "check" else running(step)

    assert play(a_coder(), reply).answer.detail["stages"][0]["confidence"] == 0


def test_where_no_solution_holds_code_nobody_checks() -> None:
    def reply(step: Step) -> Reply:
        return Reply(text="so sorry") if step.act == "solve" else running(step)

    game = play(a_coder(), reply)
    assert game.steps("check") == []
    assert game.answer.answer == "so sorry"


# Confidence by perplexity


@pytest.mark.parametrize(("p1", "stage"), [(1.4, 1), (1.3, 3)])
def test_the_lowest_perplexity_is_accepted_under_its_threshold(p1: float, stage: int) -> None:
    query = a_cope(confidence="perplexity", p1=p1, p2=1.0, kind=None)
    told = [-0.9, -0.3, -0.5, None]

    def reply(step: Step) -> Reply:
        return Reply(text=f"{step.act} {step.index}", mean_logprob=told[step.index])

    game = play(query, reply)
    assert game.answer.detail["stages"][0]["winner"] == 1
    assert game.answer.detail["stages"][0]["confidence"] == pytest.approx(exp(0.3))
    assert game.answer.detail["stage"] == stage
