"""One model alone: the baseline that every collaboration has to beat."""

from __future__ import annotations

from datetime import datetime

from models.messages import Name, Query
from models.strategies.base import Ask, Move, QueryState, Wait
from models.strategies.drawing import draws, one_of
from models.strategies.formats import FormatOptions
from models.strategies.stages import close_stage, finish


class SingleOptions(FormatOptions):
    """Options of the strategy `single`."""

    #: The client or server that answers; None is the query's first client.
    participant: Name | None = None


class Single:
    """The strategy `single`."""

    options = SingleOptions

    def check(self, query: Query) -> None:
        """Raises InvalidAsk when nobody of that name takes part."""
        one_of(query, "single", SingleOptions.model_validate(query.options).participant)

    def next_move(self, state: QueryState, now: datetime) -> Move:
        options = SingleOptions.model_validate(state.query.options)
        who = one_of(state.query, "single", options.participant)
        if not state.steps:
            steps = draws(state.query, options, who, 1, now)
            return Ask(steps=steps, wake_at=steps[0].deadline_at)
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
