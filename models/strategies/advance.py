"""The next move of a query and its effects. Pure, except for the log of a strategy's exception."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from colm.models.cancellation import CancelSteps
from colm.models.messages import MAX_REASON_CHARS, Answer, Step, seconds_between
from colm.models.strategies import STRATEGIES
from colm.models.strategies.base import Ask, Close, Decision, Finish, Move, QueryState, unfinished
from colm.models.strategies.stages import finish

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Effects:
    """Messages to publish after the commit of a move."""

    steps: tuple[Step, ...] = ()
    #: Cancellations, by participant.
    stops: tuple[tuple[str, CancelSteps], ...] = ()
    ended: Answer | None = None


def effects_of(state: QueryState, move: Move, now: datetime) -> Effects:
    """The effects of `move` on `state`. Steps past their deadline stop without a message."""
    if not isinstance(move, (Ask, Finish)):
        return Effects()
    left = [s.step for s in unfinished(state.steps) if s.step.deadline_at > now]
    if isinstance(move, Ask):
        closed = {close.step_id for close in move.closes}
        left = [step for step in left if step.step_id in closed]
    participants = dict.fromkeys(step.participant for step in left)
    stops = tuple(
        (name, _stop([step for step in left if step.participant == name])) for name in participants
    )
    if isinstance(move, Ask):
        return Effects(steps=move.steps, stops=stops)
    return Effects(stops=stops, ended=move.answer)


def _stop(steps: Sequence[Step]) -> CancelSteps:
    return CancelSteps(query_id=steps[0].query_id, step_ids=tuple(step.step_id for step in steps))


def cancelled(state: QueryState, now: datetime, reason: str) -> Finish:
    closes = tuple(Close(step_id=s.step.step_id, reason=reason) for s in unfinished(state.steps))
    return finish(state, now, candidates={}, failure=reason, closes=closes)


def retry_step(state: QueryState, step_id: str, *, alone: bool) -> Step:
    step = next(s.step for s in state.steps if s.step.step_id == step_id)
    return step.model_copy(update={"alone": alone})


def next_move(state: QueryState, now: datetime) -> Move:
    """The strategy's move; an exception in the strategy fails its query.

    Raising would roll back the recorded outcome, again at every redelivery and deadline.
    """
    try:
        return STRATEGIES[state.query.strategy].next_move(state, now)
    except Exception as error:  # a strategy may be third-party code
        logger.exception("query %s: the strategy failed", state.query.query_id)
        return given_up(state, now, f"the strategy failed: {error!r}")


def given_up(state: QueryState, now: datetime, reason: str) -> Finish:
    """A failed query. Reads only the query itself, because the rest of the state may be invalid."""
    query = state.query
    reason = reason[:MAX_REASON_CHARS]
    answer = Answer(
        query_id=query.query_id,
        strategy=query.strategy,
        status="failed",
        answer=None,
        reason=reason,
        degraded=True,
        seconds=seconds_between(query.asked_at, now),
        asked_at=query.asked_at,
        ended_at=now,
    )
    return Finish(answer=answer, decisions=(Decision(kind="failure", round=1, reason=reason),))
