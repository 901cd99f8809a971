"""Plays a whole query against a strategy: scripted replies at scripted times, no broker, no clock.

Every decision is taken twice, from the state and from a copy that went through JSON, and both have
to agree: a strategy is a function of the record.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime

from colm.models.messages import Answer, Completion, Query, Step, StepError
from colm.models.strategies import STRATEGIES
from colm.models.strategies.base import Ask, Finish, Move, Outcome, QueryState, StepState, Wait
from tests.unit.examples import a_completion, seconds
from tests.unit.memory_record import MemoryLife

MOST_MOVES = 500


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What a participant does with a step: `text` or `error`, `after` seconds."""

    after: float = 1.0
    text: str | None = None
    error: str | None = None
    kind: str = "EngineError"
    mean_logprob: float | None = None
    choice_logprobs: dict[str, float] | None = None


Script = Callable[[Step], Reply | None]
Decide = Callable[[QueryState, datetime], Move]


@dataclass(kw_only=True)
class Play:
    """How a query went."""

    life: MemoryLife
    asked: list[Step] = field(default_factory=list)
    moves: list[tuple[datetime, Move]] = field(default_factory=list)

    @property
    def answer(self) -> Answer:
        assert self.life.answer is not None
        return self.life.answer

    def steps(self, act: str, round: int | None = None) -> list[Step]:
        return [s for s in self.asked if s.act == act and round in (None, s.round)]

    def who(self, act: str, round: int | None = None) -> list[str]:
        return [step.participant for step in self.steps(act, round)]


def answering(step: Step) -> Reply:
    """Everybody answers with something of their own."""
    return Reply(text=f"{step.act} {step.round} of {step.participant}")


def play(query: Query, script: Script = answering, decide: Decide | None = None) -> Play:
    """Drive the query's strategy to its end. `script` returns None for silence."""
    decide = decide or STRATEGIES[query.strategy].next_move
    game = Play(life=MemoryLife(query=query))
    coming: list[tuple[datetime, int, Step, Outcome]] = []
    now = query.asked_at
    while len(game.moves) < MOST_MOVES:
        move = decide(game.life.state, now)
        assert move == decide(through_json(game.life.state), now), "not a function of the record"
        game.moves.append((now, move))
        game.life.apply(move, now)
        if isinstance(move, Finish):
            return game
        for step in move.steps if isinstance(move, Ask) else ():
            game.asked.append(step)
            reply = script(step)
            if reply is not None:
                at = now + seconds(reply.after)
                heapq.heappush(coming, (at, len(game.asked), step, _outcome(reply, at)))
        now = _next_moment(game.life, coming, now, move)
    raise AssertionError(f"the query did not end within {MOST_MOVES} moves")


def _next_moment(
    life: MemoryLife,
    coming: list[tuple[datetime, int, Step, Outcome]],
    now: datetime,
    move: Ask | Wait,
) -> datetime:
    """When the coordinator would ask again: at an outcome that was recorded, or at `wake_at`."""
    while coming and coming[0][0] < move.wake_at:
        at, _, step, outcome = heapq.heappop(coming)
        if life.add_outcome(step, outcome) == "recorded":
            return max(now, at)
    return max(now, move.wake_at)


def _outcome(reply: Reply, at: datetime) -> Outcome:
    if reply.error is not None:
        error = StepError(kind=reply.kind, reason=reply.error)
        return Outcome(status="failed", at=at, worker="test", error=error)
    return Outcome(status="completed", at=at, worker="test", completion=_said(reply))


def _said(reply: Reply) -> Completion:
    told = {"mean_logprob": reply.mean_logprob, "choice_logprobs": reply.choice_logprobs}
    return a_completion(reply.text or "", **told)


def through_json(state: QueryState) -> QueryState:
    """The state as another process would read it back."""
    return replace(
        state,
        query=Query.model_validate_json(state.query.model_dump_json()),
        steps=tuple(_step_through_json(s) for s in state.steps),
        decisions=tuple(replace(d, detail=dict(d.detail)) for d in state.decisions),
    )


def _step_through_json(state: StepState) -> StepState:
    outcome = state.outcome
    if outcome is not None and outcome.completion is not None:
        copy = Completion.model_validate_json(outcome.completion.model_dump_json())
        outcome = replace(outcome, completion=copy)
    step = Step.model_validate_json(state.step.model_dump_json())
    return replace(state, step=step, outcome=outcome)
