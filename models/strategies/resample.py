"""The control of `colm`: every client answers as many times, without guidance.

A second try can be right by chance. The recovery rate of `colm` on failed questions must exceed the
rate here, with the same number of calls for each client.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from colm.models.errors import InvalidAsk
from colm.models.messages import Query
from colm.models.strategies.base import Ask, Move, QueryState, Wait
from colm.models.strategies.cope.report import missing_steps
from colm.models.strategies.format_options import FormatOptions
from colm.models.strategies.repeated_sampling import most_frequent, sample_steps
from colm.models.strategies.stages import close_stage, finish


class ResampleOptions(FormatOptions):
    #: Answers of each client; `colm` with R rounds asks each client 1 + R times.
    calls: int = Field(default=3, ge=1, le=128)
    #: A client's final answer: its last one, as in `colm`, or its most frequent one.
    take: Literal["last", "vote"] = "last"


class Resample:
    options = ResampleOptions

    def check(self, query: Query) -> None:
        if not query.clients:
            raise InvalidAsk("strategy 'resample' needs at least one client; none is configured")

    def next_move(self, state: QueryState, now: datetime) -> Move:
        query, options = state.query, ResampleOptions.model_validate(state.query.options)
        if not state.steps:
            steps = tuple(
                step
                for client in query.clients
                for step in sample_steps(query, options, client, options.calls, now)
            )
            return Ask(steps=steps, wake_at=steps[0].deadline_at)
        closed = close_stage(state, now)
        if isinstance(closed, Wait):
            return closed
        finals = {
            client.name: text
            for client in query.clients
            if (text := _final(closed.state, client.name, options)) is not None
        }
        return finish(
            closed.state,
            now,
            candidates=finals,
            kind=options.kind,
            failure=None if finals else closed.reasons(),
            closes=closed.closes,
            notes=missing_steps(closed.state),
            finals=finals,
        )


def _final(state: QueryState, client: str, options: ResampleOptions) -> str | None:
    mine = [s.completion for s in state.steps if s.step.participant == client]
    texts = [c.text if c else None for c in mine]
    if options.take == "last":
        return next((text for text in reversed(texts) if text is not None), None)
    pick = most_frequent(texts, options, state.query.question)
    return texts[pick.sample] if pick else None
