"""What holds of every strategy, whoever answers, fails, is silent or late, in whatever order."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from colm.models.messages import Answer, Deadlines, Step
from colm.models.strategies import STRATEGIES
from colm.models.strategies.base import Ask, Finish, Wait
from colm.models.strategies.stages import query_deadline
from tests.unit.simulation import Play, Reply, answering, play
from tests.unit.strategy_examples import a_query_for

DEADLINES = Deadlines(
    select=10, draft=20, synthesize=30, refine=40, plan=15, solve=25, aggregate=30, judge=20,
    check=5, query=1000,
)  # fmt: skip
DELAYS = st.sampled_from([0.0, 0.5, 9.0, 15.0, 19.5, 20.0, 35.0, 60.0])
TEXTS = st.sampled_from(["Answer: 4", "Answer: 5", "it is B", "A", "", "<answer>", "passed"])
OPTIONS: dict[str, dict[str, Any]] = {
    "cope": {"kind": "numeric", "n": 3},
    "cascade": {"kind": "numeric", "n": 2},
    "vote": {"kind": "numeric", "n": 4},
    "resample": {"kind": "numeric"},
}

relaxed = settings(
    max_examples=40, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)


@st.composite
def plays(draw: st.DrawFn, strategy: str) -> Play:
    """`play` itself checks that the query ends, and that each move is a function of the record."""
    kinds = ["answers"] * draw(st.sampled_from([1, 6])) + ["says", "fails", "is silent"]

    def reply(step: Step) -> Reply | None:
        match draw(st.sampled_from(kinds)):
            case "answers":
                return answering(step)
            case "says":
                return Reply(text=draw(TEXTS), after=draw(DELAYS))
            case "fails":
                return Reply(error="no memory", after=draw(DELAYS))
        return None

    limit = draw(st.sampled_from([5.0, 35.0, 1000.0]))
    query = a_query_for(
        strategy,
        deadlines=DEADLINES.model_copy(update={"query": limit}),
        options=OPTIONS.get(strategy, {}),
        seed=draw(st.integers(0, 99)),
    )
    return play(query, reply)


@pytest.mark.parametrize("strategy", STRATEGIES)
@relaxed
@given(st.data())
def test_it_ends_in_time_with_an_answer_that_is_well_formed(
    strategy: str, data: st.DataObject
) -> None:
    game = data.draw(plays(strategy))
    finishes = [move for _, move in game.moves if isinstance(move, Finish)]
    answer = game.answer
    assert len(finishes) == 1
    assert answer.ended_at <= query_deadline(game.life.query)
    assert Answer.model_validate_json(answer.model_dump_json()) == answer
    assert json.loads(json.dumps(answer.detail)) == answer.detail
    assert not [s for s in game.life.state.steps if s.open]
    if answer.status == "answered":
        written = {s.completion.text for s in game.life.state.steps if s.completion}
        assert strategy == "judge" or answer.answer in written
        assert answer.chosen_because
    else:
        assert (answer.answer, answer.chosen) == (None, None)
        assert answer.reason


@pytest.mark.parametrize("strategy", STRATEGIES)
@relaxed
@given(st.data())
def test_steps_are_each_their_own_and_every_wait_has_an_end(
    strategy: str, data: st.DataObject
) -> None:
    game = data.draw(plays(strategy))
    assert len({s.step_id for s in game.asked}) == len(game.asked)
    assert len({s.sampling.seed for s in game.asked}) == len(game.asked)
    asked: Ask | None = None
    for now, move in game.moves:
        if isinstance(move, Ask):
            asked = move
            assert len({(s.act, s.round) for s in move.steps}) == 1
            assert move.wake_at == max(s.deadline_at for s in move.steps)
            assert now < move.wake_at <= query_deadline(game.life.query)
        elif isinstance(move, Wait):
            assert asked is not None
            assert now < move.wake_at == asked.wake_at


@pytest.mark.parametrize("strategy", STRATEGIES)
@relaxed
@given(st.data())
def test_the_ledger_holds_every_completion_and_nothing_else(
    strategy: str, data: st.DataObject
) -> None:
    game = data.draw(plays(strategy))
    answer, steps = game.answer, game.life.state.steps
    done = [s.completion for s in steps if s.completion is not None]
    assert sum(line.calls for line in answer.ledger) == len(done)
    assert sum(line.prompt for line in answer.ledger) == answer.tokens.prompt
    assert sum(line.completion for line in answer.ledger) == answer.tokens.completion
    assert len({(line.participant, line.act) for line in answer.ledger}) == len(answer.ledger)


@pytest.mark.parametrize("strategy", STRATEGIES)
@relaxed
@given(st.data())
def test_whoever_is_missing_is_named_and_makes_the_answer_degraded(
    strategy: str, data: st.DataObject
) -> None:
    game = data.draw(plays(strategy))
    missing = [s.step.participant for s in game.life.state.steps if s.completion is None]
    answer = game.answer
    assert not missing or answer.degraded
    told = " ".join([*answer.notes, answer.reason or ""])
    assert [name for name in missing if name not in told] == []
