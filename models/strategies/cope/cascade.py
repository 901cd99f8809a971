"""COPE without plans at equal calls: a control that measures the benefit of planning.

Each plan of `cope` is one more sample here: 2n in stage 1, n + 1 in stage 2, one answer of the
server in stage 3. Votes and thresholds are those of COPE.
"""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from colm.models.errors import InvalidAsk
from colm.models.messages import Name, Query
from colm.models.prompts.answer_format import format_hint
from colm.models.strategies.base import Move, QueryState
from colm.models.strategies.cope.consensus import Comparison, Rule
from colm.models.strategies.cope.stages import CascadePlan, next_stage
from colm.models.strategies.cope.strategy import small_model
from colm.models.strategies.format_options import FormatOptions


class CascadeOptions(FormatOptions):
    #: COPE's n: stage 1 has twice as many samples, stage 2 one more.
    n: int = Field(default=8, ge=1, le=128)
    #: The consensus at which stage 1 is accepted, and stage 2.
    t1: float = Field(default=0.75, ge=0, le=1)
    t2: float = Field(default=0.5, ge=0, le=1)
    #: Whether a consensus equal to its threshold is accepted.
    comparison: Comparison = ">="
    #: The small model; None is the query's first client.
    client: Name | None = None
    #: Temperature of the client in stages 1 and 2; None is its own.
    temperature1: float | None = Field(default=None, ge=0, le=5)
    temperature2: float | None = Field(default=None, ge=0, le=5)


class Cascade:
    options = CascadeOptions

    def check(self, query: Query) -> None:
        small_model(query, "cascade", CascadeOptions.model_validate(query.options).client)
        if query.server is None:
            raise InvalidAsk("strategy 'cascade' needs a server; none is configured")

    def next_move(self, state: QueryState, now: datetime) -> Move:
        query = state.query
        options = CascadeOptions.model_validate(query.options)
        plan = CascadePlan(
            client=small_model(query, "cascade", options.client),
            server=query.server,
            hint=format_hint(options.kind, options.format_hint),
            stages=(1, 2, 3),
            rules=cascade_rules(query),
            plans=False,
            plan_at={},
            solve_at={1: options.temperature1, 2: options.temperature2, 3: 0.0},
        )
        return next_stage(plan, state, now)


def cascade_rules(query: Query) -> dict[int, Rule]:
    """The acceptance rule of each voting stage of a `cascade` query."""
    options = CascadeOptions.model_validate(query.options)
    stages = {1: (2 * options.n, options.t1), 2: (options.n + 1, options.t2)}
    return {
        stage: Rule(
            n=n,
            threshold=threshold,
            comparison=options.comparison,
            kind=options.kind or "exact",
            question=query.question,
        )
        for stage, (n, threshold) in stages.items()
    }
