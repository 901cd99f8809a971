"""Self-consistency (arXiv 2203.11171): majority vote over n answers of one participant."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from colm.models.messages import Name, Query
from colm.models.strategies.base import Ask, Move, QueryState, Wait
from colm.models.strategies.cope.consensus import samples_of
from colm.models.strategies.cope.report import missing_steps
from colm.models.strategies.format_options import FormatOptions
from colm.models.strategies.repeated_sampling import (
    most_frequent,
    resolve_participant,
    sample_steps,
)
from colm.models.strategies.stages import Chosen, close_stage, end


class VoteOptions(FormatOptions):
    #: Number of samples.
    n: int = Field(default=8, ge=1, le=128)
    #: The client or server that answers; None is the query's first client.
    participant: Name | None = None


class Vote:
    options = VoteOptions

    def check(self, query: Query) -> None:
        resolve_participant(query, "vote", VoteOptions.model_validate(query.options).participant)

    def next_move(self, state: QueryState, now: datetime) -> Move:
        options = VoteOptions.model_validate(state.query.options)
        who = resolve_participant(state.query, "vote", options.participant)
        if not state.steps:
            steps = sample_steps(state.query, options, who, options.n, now)
            return Ask(steps=steps, wake_at=steps[0].deadline_at)
        closed = close_stage(state, now)
        if isinstance(closed, Wait):
            return closed
        texts = [s.text for s in samples_of(closed.state, 1)]
        pick = most_frequent(texts, options, state.query.question)
        text = texts[pick.sample] if pick else None
        return end(
            closed.state,
            now,
            Chosen(who.name, text, pick.because) if pick and text is not None else None,
            failure=closed.reasons(),
            closes=closed.closes,
            notes=missing_steps(closed.state),
            detail=pick.detail if pick else {},
            finals={who.name: text} if text is not None else {},
        )
