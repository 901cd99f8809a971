"""Mixture of agents (arXiv 2406.04692) and Self-MoA (arXiv 2502.00674).

moa       layer 1: every client drafts; layer l: every client reads layer l - 1 and answers; then
          the aggregator reads the last layer and answers
self-moa  one participant drafts n times, then aggregates its own drafts
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import partial

from pydantic import Field

from colm.models.errors import InvalidAsk
from colm.models.messages import Name, Participant, Query, Step
from colm.models.prompts import panels
from colm.models.strategies.base import Ask, Finish, Move, QueryState, Wait
from colm.models.strategies.cope.report import missing_steps
from colm.models.strategies.format_options import FormatOptions, question_of
from colm.models.strategies.repeated_sampling import most_frequent, participant_option, sample_steps
from colm.models.strategies.stages import (
    Chosen,
    ClosedStage,
    Report,
    close_stage,
    end,
    finish,
    make_step,
    query_deadline,
)


class MoaOptions(FormatOptions):
    #: Layers of proposers before the aggregator.
    layers: int = Field(default=2, ge=1, le=8)
    #: The client or server that aggregates; None is the server.
    aggregator: Name | None = None


class SelfMoaOptions(FormatOptions):
    #: Number of proposals.
    n: int = Field(default=6, ge=1, le=64)
    #: The client or server that proposes and aggregates; None is the server.
    participant: Name | None = None


class Moa:
    options = MoaOptions

    def check(self, query: Query) -> None:
        if not query.clients:
            raise InvalidAsk("strategy 'moa' needs at least one client; none is configured")
        _named_or_server(
            query, "moa", "aggregator", MoaOptions.model_validate(query.options).aggregator
        )

    def next_move(self, state: QueryState, now: datetime) -> Move:
        query, options = state.query, MoaOptions.model_validate(state.query.options)
        aggregator = _named_or_server(query, "moa", "aggregator", options.aggregator)
        if not state.steps:
            steps = [s for c in query.clients for s in sample_steps(query, options, c, 1, now)]
            return Ask(steps=tuple(steps), wake_at=steps[0].deadline_at)
        return _after(_Panel(state, now, options, aggregator, query.clients, options.layers))


class SelfMoa:
    options = SelfMoaOptions

    def check(self, query: Query) -> None:
        name = SelfMoaOptions.model_validate(query.options).participant
        _named_or_server(query, "self-moa", "participant", name)

    def next_move(self, state: QueryState, now: datetime) -> Move:
        query, options = state.query, SelfMoaOptions.model_validate(state.query.options)
        who = _named_or_server(query, "self-moa", "participant", options.participant)
        if not state.steps:
            steps = sample_steps(query, options, who, options.n, now)
            return Ask(steps=steps, wake_at=steps[0].deadline_at)
        return _after(_Panel(state, now, options, who, (), 1))


@dataclass(frozen=True)
class _Panel:
    """A query and its configuration, common to both strategies."""

    state: QueryState
    now: datetime
    options: FormatOptions
    aggregator: Participant
    proposers: tuple[Participant, ...]
    layers: int


def _after(panel: _Panel) -> Move:
    closed = close_stage(panel.state, panel.now)
    if isinstance(closed, Wait):
        return closed
    last = closed.steps[-1].step
    if last.act == "aggregate":
        return _end(panel, closed)
    answers = [text for _, text in _proposals(closed.state)]
    if not answers:
        return _end(panel, closed)
    if panel.now >= query_deadline(panel.state.query):
        return _end(panel, closed, "the query's deadline came before it could aggregate")
    steps = _next_layer(panel, answers, last.round)
    return Ask(steps=steps, wake_at=steps[0].deadline_at, closes=closed.closes)


def _next_layer(panel: _Panel, answers: list[str], done: int) -> tuple[Step, ...]:
    question = question_of(panel.state.query, panel.options)
    step = partial(make_step, panel.state.query, version=panels.VERSION)
    if done == panel.layers:
        messages = panels.aggregate(panel.aggregator, question, answers)
        return (step(panel.aggregator, "aggregate", done, messages, panel.now),)
    return tuple(
        step(who, "draft", done + 1, panels.propose(who, question, answers), panel.now)
        for who in panel.proposers
    )


def _proposals(state: QueryState) -> list[tuple[str, str]]:
    """Participant and text of each proposal of the latest layer that has any."""
    layers = sorted({s.step.round for s in state.steps}, reverse=True)
    for layer in layers:
        proposals = [
            (s.step.participant, s.completion.text)
            for s in state.stage("draft", layer)
            if s.completion is not None
        ]
        if proposals:
            return proposals
    return []


def _end(panel: _Panel, closed: ClosedStage, trouble: str | None = None) -> Finish:
    """End with the aggregate, or else with the proposal that agrees most with its layer."""
    state, notes = closed.state, [*([trouble] if trouble else []), *missing_steps(closed.state)]
    texts = [s.completion.text for s in state.steps if s.step.act == "aggregate" and s.completion]
    proposals = _proposals(state)
    report = Report(
        closes=closed.closes,
        notes=notes,
        detail={"layers": max(s.step.round for s in state.steps), "aggregated": bool(texts)},
        finals=dict(proposals) if panel.layers > 1 else {},
    )
    if texts:
        chosen = Chosen(panel.aggregator.name, texts[0], f"aggregates {len(proposals)} proposals")
        return end(state, panel.now, chosen, **report)
    if not panel.proposers and proposals:
        texts = [text for _, text in proposals]
        pick = most_frequent(texts, panel.options, state.query.question)
        assert pick is not None  # there are texts
        chosen = Chosen(panel.aggregator.name, texts[pick.sample], pick.because)
        return end(state, panel.now, chosen, **report)
    return finish(
        state,
        panel.now,
        candidates=dict(proposals),
        kind=panel.options.kind,
        failure=None if proposals else "; ".join(notes),
        **report,
    )


def _named_or_server(query: Query, strategy: str, option: str, name: str | None) -> Participant:
    if name is not None:
        return participant_option(query, option, name)
    if query.server is None:
        raise InvalidAsk(f"strategy {strategy!r} needs a server or {option}='NAME'")
    return query.server
