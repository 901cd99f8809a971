"""COPE (arXiv 2506.11578): a small model plans and votes; a large model helps, then takes over."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field, field_validator

from colm.models.errors import InvalidAsk
from colm.models.messages import Name, Participant, Query
from colm.models.prompts.answer_format import format_hint
from colm.models.strategies.base import Move, QueryState
from colm.models.strategies.cope.code_checks import Tests
from colm.models.strategies.cope.consensus import Comparison, Confidence, Rule
from colm.models.strategies.cope.stages import CascadePlan, next_stage
from colm.models.strategies.format_options import FormatOptions

_SANDBOX_OPTIONS = "the visible tests, and the name of a server whose engine kind is sandbox"


class CopeOptions(FormatOptions):
    #: Samples of a stage, and the denominator of its consensus.
    n: int = Field(default=8, ge=1, le=128)
    #: Consensus thresholds of stages 1 and 2.
    t1: float = Field(default=0.75, ge=0, le=1)
    t2: float = Field(default=0.5, ge=0, le=1)
    #: Whether a consensus equal to its threshold is accepted. The paper is ambiguous.
    comparison: Comparison = ">="
    #: The small model; None is the query's first client.
    client: Name | None = None
    #: The stages, in order.
    stages: tuple[Literal[1, 2, 3], ...] = Field(default=(1, 2, 3), min_length=1)
    #: Whether stages begin with plans.
    plans: bool = True
    #: The confidence measure of a stage.
    confidence: Confidence = "vote"
    #: confidence "perplexity": the highest accepted in stages 1 and 2.
    p1: float = Field(default=1.2, ge=1)
    p2: float = Field(default=1.2, ge=1)
    #: confidence "tests": the visible tests, as Python, and the server that runs them.
    tests: str | None = Field(default=None, min_length=1, max_length=20_000)
    checker: Name | None = None
    #: Temperatures of plans in stages 1 and 2.
    plan_temperatures: tuple[float, float] = (0.8, 0.8)
    #: Temperatures of solutions in stages 1, 2 and 3.
    solve_temperatures: tuple[float, float, float] = (0.4, 0.8, 0.0)
    #: Tokens of a plan, and of a solution; None is the participant's own.
    max_plan_tokens: int | None = Field(default=96, ge=1, le=32_768)
    max_answer_tokens: int | None = Field(default=None, ge=1, le=32_768)

    @field_validator("stages")
    @classmethod
    def _in_order(cls, stages: tuple[int, ...]) -> tuple[int, ...]:
        if list(stages) != sorted(set(stages)):
            raise ValueError("stages must ascend without repeats: [1, 2, 3], [1, 2], [2, 3]")
        return stages

    @field_validator("plan_temperatures", "solve_temperatures")
    @classmethod
    def _temperatures(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if not all(0 <= value <= 5 for value in values):
            raise ValueError("a temperature is a number from 0 to 5")
        return values


class Cope:
    options = CopeOptions

    def check(self, query: Query) -> None:
        options = CopeOptions.model_validate(query.options)
        small_model(query, "cope", options.client)
        if query.server is None and (
            3 in options.stages or (options.plans and 2 in options.stages)
        ):
            raise InvalidAsk("strategy 'cope' needs a server beyond stage 1; none is configured")
        missing = [name for name in ("tests", "checker") if getattr(options, name) is None]
        if options.confidence == "tests" and missing:
            raise InvalidAsk(
                f"confidence='tests' needs {' and '.join(missing)}: {_SANDBOX_OPTIONS}"
            )

    def next_move(self, state: QueryState, now: datetime) -> Move:
        return next_stage(_plan(state.query), state, now)


def small_model(query: Query, strategy: str, name: str | None) -> Participant:
    """The client `name`, or the first. Raises InvalidAsk if there is none."""
    if not query.clients:
        raise InvalidAsk(f"strategy {strategy!r} needs at least one client; none is configured")
    for client in query.clients:
        if name in (None, client.name):
            return client
    raise InvalidAsk(f"client={name!r} is not a client of this query")


def rules_of(query: Query) -> dict[int, Rule]:
    """The acceptance rule of each voting stage of a `cope` query."""
    options = CopeOptions.model_validate(query.options)
    perplexity = options.confidence == "perplexity"
    thresholds = (options.p1, options.p2) if perplexity else (options.t1, options.t2)
    return {
        stage: Rule(
            n=options.n,
            threshold=thresholds[stage - 1],
            confidence=options.confidence,
            comparison=options.comparison,
            kind=options.kind or "exact",
            question=query.question,
        )
        for stage in options.stages
        if stage != 3
    }


def _plan(query: Query) -> CascadePlan:
    options = CopeOptions.model_validate(query.options)
    tests = None
    if options.confidence == "tests" and options.tests and options.checker:
        tests = Tests(options.checker, options.tests)
    planning = (*options.plan_temperatures, options.plan_temperatures[1])
    return CascadePlan(
        client=small_model(query, "cope", options.client),
        server=query.server,
        hint=format_hint(options.kind, options.format_hint),
        stages=options.stages,
        rules=rules_of(query),
        plans=options.plans,
        plan_at=dict(zip((1, 2, 3), planning, strict=True)),
        solve_at=dict(zip((1, 2, 3), options.solve_temperatures, strict=True)),
        max_plan_tokens=options.max_plan_tokens,
        max_answer_tokens=options.max_answer_tokens,
        tests=tests,
    )
