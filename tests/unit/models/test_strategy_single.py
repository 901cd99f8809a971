"""The strategy `single`, and what each strategy refuses to start with."""

from __future__ import annotations

from typing import Any

import pytest

from colm.models.errors import InvalidAsk
from colm.models.messages import Step
from colm.models.strategies import STRATEGIES
from colm.models.strategies.base import Ask, Wait
from tests.unit.examples import NOW, a_query, seconds
from tests.unit.memory_record import MemoryLife
from tests.unit.simulation import Reply, play
from tests.unit.strategy_examples import a_query_for


def test_one_participant_answers_alone() -> None:
    game = play(a_query("ada", "bo", strategy="single"))
    assert [(s.act, s.participant) for s in game.asked] == [("draft", "ada")]
    answer = game.answer
    assert (answer.status, answer.chosen, answer.answer) == ("answered", "ada", "draft 1 of ada")
    assert (answer.clients["ada"].status, answer.clients["bo"].status) == ("drafted", "idle")
    assert not answer.degraded


@pytest.mark.parametrize("name", ["bo", "main"])
def test_any_client_or_the_server_can_be_the_one(name: str) -> None:
    game = play(a_query("ada", "bo", strategy="single", options={"participant": name}))
    assert [s.participant for s in game.asked] == [name]
    assert game.asked[0].role == ("server" if name == "main" else "client")
    assert game.answer.chosen == name


def test_a_failure_is_the_querys_failure() -> None:
    def out_of_memory(_step: Step) -> Reply:
        return Reply(error="out of memory")

    answer = play(a_query("ada", strategy="single"), out_of_memory).answer
    assert answer.status == "failed"
    assert answer.reason == "ada: EngineError: out of memory"


def test_silence_ends_at_the_deadline() -> None:
    answer = play(a_query("ada", strategy="single"), lambda _: None).answer
    assert answer.status == "failed"
    assert answer.ended_at == NOW + seconds(20)
    assert "nothing came from ada" in str(answer.reason)


def test_of_given_choices_the_likeliest_is_the_answer_and_all_are_told() -> None:
    def reply(_step: Step) -> Reply:
        return Reply(text="B", choice_logprobs={"A": -2.0, "B": -0.5})

    query = a_query("ada", strategy="single", options={"choices": ["A", "B"]})
    game = play(query, reply)
    (step,) = game.asked
    assert step.choices == ("A", "B")
    assert "nothing else: A, B" in step.messages[-1].content
    assert game.answer.answer == "B"
    assert game.answer.detail == {"choice_logprobs": {"A": -2.0, "B": -0.5}}
    assert play(a_query("ada", strategy="single")).answer.detail == {}


@pytest.mark.parametrize(
    ("strategy", "options", "changes", "complaint"),
    [
        ("colm", {}, {"server": None}, "needs a server"),
        ("colm", {}, {"clients": []}, "at least one client"),
        ("colm", {"select": 3}, {}, "select=3 is more than the 2 clients"),
        ("colm", {"quorum": 3}, {}, "quorum=3 is more than the 2 clients"),
        ("single", {"participant": "zoe"}, {}, "'zoe' is neither a client nor the server"),
        ("single", {}, {"clients": []}, "needs a client"),
    ],
)
def test_a_query_that_its_participants_cannot_carry_is_refused(
    strategy: str, options: dict[str, Any], changes: dict[str, Any], complaint: str
) -> None:
    query = a_query("ada", "bo", strategy=strategy, options=options, **changes)
    with pytest.raises(InvalidAsk, match=complaint):
        STRATEGIES[strategy].check(query)


def test_single_needs_no_server_and_colm_no_more_clients_than_one() -> None:
    STRATEGIES["single"].check(a_query("ada", strategy="single", server=None))
    STRATEGIES["colm"].check(a_query("ada", options={"select": 1, "quorum": 1}))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_asked_too_early_every_strategy_waits_for_the_deadline(strategy: str) -> None:
    life = MemoryLife(query=a_query_for(strategy))
    decide = STRATEGIES[strategy].next_move
    first = decide(life.state, NOW)
    assert isinstance(first, Ask)
    life.apply(first, NOW)
    left = (first.wake_at - NOW).total_seconds()
    for moment in (0, 1, left - 0.001):
        assert decide(life.state, NOW + seconds(moment)) == Wait(wake_at=first.wake_at)
    assert not isinstance(decide(life.state, first.wake_at), Wait)
