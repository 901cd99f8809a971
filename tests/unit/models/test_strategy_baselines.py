"""The baselines that a collaboration has to beat: `vote`, `resample`, `moa`, `self-moa`."""

from __future__ import annotations

from typing import Any

import pytest

from colm.models.errors import InvalidAsk
from colm.models.messages import Query, Step
from colm.models.prompts import answer_format
from colm.models.strategies import STRATEGIES
from tests.unit.examples import QUESTION, a_query
from tests.unit.simulation import Reply, Script, answering, play


def asked(strategy: str, *clients: str, **options: Any) -> Query:
    return a_query(*(clients or ("ada", "bo")), strategy=strategy, options=options)


def drawing(**by_name: list[str | None]) -> Script:
    """Each draft by its participant and index; None: it fails."""

    def reply(step: Step) -> Reply:
        if step.act != "draft":
            return answering(step)
        text = by_name[step.participant][step.index]
        return Reply(error="no memory") if text is None else Reply(text=text)

    return reply


# Shared first drafts.

SHARING: dict[str, dict[str, Any]] = {
    "single": {}, "vote": {"n": 3}, "resample": {"calls": 2}, "moa": {}, "colm": {},
    "self-moa": {"participant": "ada", "n": 2}, "cascade": {"n": 1},
}  # fmt: skip


@pytest.mark.parametrize("hint", [{}, {"kind": "math"}, {"format_hint": "In one word."}])
def test_the_first_draft_of_a_client_is_one_and_the_same_step_in_every_strategy(
    hint: dict[str, Any],
) -> None:
    drafts = []
    for strategy, options in SHARING.items():
        query = asked(strategy, **options, **hint)
        first = play(query).asked[0]
        drafts.append((first.key, first.messages, first.sampling))
    assert len({repr(draft) for draft in drafts}) == 1
    assert drafts[0][0].act == "draft"
    assert (drafts[0][0].round, drafts[0][0].index) == (1, 0)


def test_every_draw_is_the_same_step_wherever_the_same_participant_draws() -> None:
    draws = play(asked("vote", n=4)).asked
    assert draws == [s for s in play(asked("resample", calls=4)).asked if s.participant == "ada"]
    assert draws == play(asked("self-moa", n=4, participant="ada")).asked[:4]
    assert len({s.sampling.seed for s in draws}) == 4


@pytest.mark.parametrize("strategy", [s for s in STRATEGIES if s != "judge"])
def test_who_answers_is_told_the_format_and_who_plans_or_guides_is_not(strategy: str) -> None:
    game = play(a_query("ada", "bo", strategy=strategy, options={"kind": "math"}))
    for step in game.asked:
        told = any(answer_format.HINTS["math"] in turn.content for turn in step.messages)
        assert told == (step.act in ("draft", "refine", "solve", "aggregate"))
    other = play(a_query("ada", "bo", strategy=strategy, options={"format_hint": "In one word."}))
    assert "In one word." in "".join(t.content for s in other.asked for t in s.messages)


def test_an_empty_hint_and_a_kind_without_one_add_nothing() -> None:
    plain = answer_format.add_format_hint(QUESTION, None, None)
    assert plain == QUESTION == answer_format.add_format_hint(QUESTION, "math", "")
    assert plain == answer_format.add_format_hint(QUESTION, "text", None)
    assert answer_format.add_format_hint("Q", "numeric", "Say it.") == "Q\n\nSay it."


# vote


def test_vote_is_n_samples_of_one_and_the_most_frequent_answer_wins() -> None:
    texts = ["Answer: 2", "Answer: 3", "so the Answer: 3.0", "Answer: 4"]
    game = play(asked("vote", n=4, kind="numeric"), drawing(ada=[*texts]))
    assert [(s.participant, s.index) for s in game.asked] == [("ada", i) for i in range(4)]
    answer = game.answer
    assert (answer.answer, answer.chosen) == ("Answer: 3", "ada")
    assert answer.chosen_because == "2 of 4 samples give its answer"
    assert answer.detail["classes"] == [[0], [1, 2], [3]]
    assert answer.detail["share"] == 0.5
    client = answer.clients["ada"]
    assert (client.draft, client.refined, client.status) == ("Answer: 2", "Answer: 3", "drafted")


def test_of_two_as_frequent_the_first_wins_and_what_fails_agrees_with_nobody() -> None:
    texts = [None, "Answer: 2", "Answer: 3", "Answer: 3", "Answer: 2"]
    answer = play(asked("vote", n=5, kind="numeric"), drawing(ada=[*texts])).answer
    assert answer.answer == "Answer: 2"
    assert answer.detail["share"] == 0.4
    assert answer.degraded
    assert "1 of 5" in answer.notes[0]


def test_without_a_kind_the_most_central_text_wins_and_without_any_answer_the_first() -> None:
    texts = ["the sky", "light scatters", "light scatters more"]
    assert play(asked("vote", n=3), drawing(ada=[*texts])).answer.answer == "light scatters"
    none = play(asked("vote", n=3, kind="numeric"), drawing(ada=[*texts])).answer
    assert none.answer == "the sky"
    assert "no sample holds an answer" in str(none.chosen_because)


def test_a_vote_in_which_nobody_votes_fails_with_the_reason() -> None:
    answer = play(asked("vote", n=2), drawing(ada=[None, None])).answer
    assert answer.status == "failed"
    assert "no memory" in str(answer.reason)


# resample


def test_resample_asks_every_client_as_often_as_colm_does_and_nobody_else() -> None:
    control = play(asked("resample", calls=3))
    method = play(a_query("ada", "bo", options={"rounds": 2}))
    for client in ("ada", "bo"):
        assert len([s for s in control.asked if s.participant == client]) == len(
            [s for s in method.asked if s.participant == client]
        )
    assert {s.participant for s in control.asked} == {"ada", "bo"}
    assert {s.messages for s in control.asked} == {s.messages for s in method.steps("draft")}


@pytest.mark.parametrize(("take", "ends"), [("last", "Answer: 9"), ("vote", "Answer: 7")])
def test_a_client_ends_with_its_last_or_its_most_frequent_answer(take: str, ends: str) -> None:
    texts = ["Answer: 7", "Answer: 7", "Answer: 9", None]
    game = play(asked("resample", "ada", calls=4, take=take, kind="numeric"), drawing(ada=[*texts]))
    client = game.answer.clients["ada"]
    assert (client.draft, client.refined) == ("Answer: 7", ends)
    assert game.answer.answer == ends


def test_the_callers_answer_is_that_of_most_clients() -> None:
    texts: dict[str, list[str | None]] = {
        "ada": ["5", "Answer: 5"], "bo": ["6", "It is 6"], "cy": ["5", "Answer: 6"],
    }  # fmt: skip
    query = asked("resample", *texts, calls=2, kind="numeric")
    answer = play(query, drawing(**texts)).answer
    assert answer.chosen in ("bo", "cy")
    assert answer.chosen_because == "gives the answer of 2 of 3 (kind numeric)"


# moa


def test_each_layer_reads_all_of_the_layer_before_and_the_aggregator_the_last() -> None:
    game = play(asked("moa", layers=2))
    assert [(s.act, s.round, s.participant) for s in game.asked] == [
        ("draft", 1, "ada"), ("draft", 1, "bo"), ("draft", 2, "ada"), ("draft", 2, "bo"),
        ("aggregate", 2, "main"),
    ]  # fmt: skip
    for step in game.steps("draft", 2):
        assert all(f"draft 1 of {name}" in step.messages[-1].content for name in ("ada", "bo"))
    (last,) = game.steps("aggregate")
    assert all(f"draft 2 of {name}" in last.messages[-1].content for name in ("ada", "bo"))
    assert "draft 1" not in last.messages[-1].content
    assert (game.answer.answer, game.answer.chosen) == ("aggregate 2 of main", "main")
    assert game.answer.clients["bo"].draft == "draft 1 of bo"
    assert game.answer.clients["bo"].refined == "draft 2 of bo"


def test_a_client_can_aggregate_and_then_no_server_is_needed() -> None:
    query = asked("moa", layers=1, aggregator="bo").model_copy(update={"server": None})
    STRATEGIES["moa"].check(query)
    assert play(query).who("aggregate") == ["bo"]


def test_a_layer_that_never_came_is_passed_over() -> None:
    def reply(step: Step) -> Reply:
        failing = step.act == "draft" and step.round == 2
        return Reply(error="no memory") if failing else answering(step)

    game = play(asked("moa", layers=2), reply)
    assert "draft 1 of ada" in game.steps("aggregate")[0].messages[-1].content
    assert game.answer.degraded


@pytest.mark.parametrize("strategy", ["moa", "self-moa"])
def test_without_an_aggregate_a_proposal_is_the_answer(strategy: str) -> None:
    def reply(step: Step) -> Reply:
        if step.act == "aggregate":
            return Reply(error="no memory")
        return Reply(text="Answer: 4" if step.index or step.participant == "bo" else "Answer: 5")

    options = {"kind": "numeric"} | ({"n": 3} if strategy == "self-moa" else {})
    answer = play(asked(strategy, "ada", "bo", "bo2", **options), reply).answer
    assert answer.answer == ("Answer: 4" if strategy == "self-moa" else "Answer: 5")
    assert answer.detail["aggregated"] is False
    assert answer.degraded


def test_self_moa_is_n_samples_of_the_server_and_its_own_aggregate() -> None:
    game = play(asked("self-moa", n=3))
    assert game.who("draft") == ["main"] * 3
    assert game.who("aggregate") == ["main"]
    assert game.steps("aggregate")[0].messages[-1].content.count("<answer number=") == 3
    assert game.answer.chosen == "main"
    assert {c.status for c in game.answer.clients.values()} == {"idle"}


def test_nobody_proposes_and_the_query_fails() -> None:
    answer = play(asked("moa"), lambda _: None).answer
    assert answer.status == "failed"
    assert "never came from ada" in str(answer.reason)


@pytest.mark.parametrize(
    ("strategy", "options", "changes", "complaint"),
    [
        ("vote", {"participant": "zoe"}, {}, "'zoe' is neither"),
        ("vote", {}, {"clients": []}, "needs a client"),
        ("resample", {}, {"clients": []}, "at least one client"),
        ("moa", {}, {"clients": []}, "at least one client"),
        ("moa", {"aggregator": "zoe"}, {}, "aggregator='zoe' is neither"),
        ("moa", {}, {"server": None}, "needs a server or aggregator"),
        ("self-moa", {}, {"server": None}, "needs a server or participant"),
    ],
)
def test_what_cannot_be_carried_is_refused(
    strategy: str, options: dict[str, Any], changes: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(InvalidAsk, match=complaint):
        STRATEGIES[strategy].check(a_query("ada", strategy=strategy, options=options, **changes))
