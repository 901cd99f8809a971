"""One model alone: the baseline that every collaboration has to beat."""

from __future__ import annotations

from datetime import datetime

from models import prompts
from models.errors import InvalidAsk
from models.messages import Message, Name, Participant, Query
from models.strategies.base import Ask, Move, QueryState, Wait
from models.strategies.stages import close_stage, finish, make_step


class SingleOptions(Message):
    """Options of the strategy `single`."""

    #: The client or server that answers; None is the query's first client.
    participant: Name | None = None


class Single:
    """The strategy `single`."""

    options = SingleOptions

    def check(self, query: Query) -> None:
        """Raises InvalidAsk when nobody of that name takes part."""
        _answerer(query)

    def next_move(self, state: QueryState, now: datetime) -> Move:
        who = _answerer(state.query)
        if not state.steps:
            messages = prompts.draft(who, state.query.question)
            step = make_step(state.query, who, "draft", 1, messages, now)
            return Ask(steps=(step,), wake_at=step.deadline_at)
        stage = close_stage(state, now)
        if isinstance(stage, Wait):
            return stage
        candidates = {
            s.step.participant: s.completion.text for s in stage.completed if s.completion
        }
        return finish(
            stage.state,
            now,
            candidates=candidates,
            closes=stage.closes,
            failure=None if candidates else stage.reasons(),
        )


def _answerer(query: Query) -> Participant:
    name = SingleOptions.model_validate(query.options).participant
    if name is None:
        if query.clients:
            return query.clients[0]
        raise InvalidAsk("strategy 'single' needs a client or participant='NAME'")
    try:
        return query.participant(name)
    except KeyError:
        raise InvalidAsk(
            f"participant={name!r} is neither a client nor the server of this query"
        ) from None
