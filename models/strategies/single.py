"""One model alone: the baseline for every collaboration."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from colm.models.messages import Name, Participant, Query, Step
from colm.models.prompts import panels
from colm.models.strategies.base import Ask, Move, QueryState, Wait
from colm.models.strategies.format_options import FormatOptions
from colm.models.strategies.repeated_sampling import resolve_participant, sample_steps
from colm.models.strategies.stages import ClosedStage, close_stage, finish, make_step


class SingleOptions(FormatOptions):
    #: The client or server that answers; None is the query's first client.
    participant: Name | None = None
    #: If not empty, the answer is the likeliest of these continuations; no text is generated.
    choices: tuple[Annotated[str, Field(min_length=1, max_length=200)], ...] = Field(
        default=(), max_length=32
    )


class Single:
    options = SingleOptions

    def check(self, query: Query) -> None:
        options = SingleOptions.model_validate(query.options)
        resolve_participant(query, "single", options.participant)

    def next_move(self, state: QueryState, now: datetime) -> Move:
        options = SingleOptions.model_validate(state.query.options)
        who = resolve_participant(state.query, "single", options.participant)
        if not state.steps:
            step = _step(state.query, options, who, now)
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
            detail=_likelihoods(stage),
        )


def _step(query: Query, options: SingleOptions, who: Participant, now: datetime) -> Step:
    if not options.choices:
        return sample_steps(query, options, who, 1, now)[0]
    choices, version = options.choices, panels.VERSION
    messages = panels.choose(who, query.question, choices)
    return make_step(query, who, "draft", 1, messages, now, version=version, choices=choices)


def _likelihoods(stage: ClosedStage) -> dict[str, Any]:
    """Log-likelihood (natural) of each choice; empty without choices."""
    scores = [s.completion.choice_logprobs for s in stage.completed if s.completion is not None]
    return {"choice_logprobs": dict(scores[0])} if scores and scores[0] is not None else {}
