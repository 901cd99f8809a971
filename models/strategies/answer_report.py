"""The parts of an `Answer` that report on the query: clients, guidance, costs. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from colm.models.messages import Act, ClientAnswer, Completion, Guidance, Spent, Tokens
from colm.models.strategies.base import QueryState, StepState, completed


def tokens_of(completions: Sequence[Completion]) -> Tokens:
    return Tokens(
        prompt=sum(c.prompt_tokens for c in completions),
        completion=sum(c.completion_tokens for c in completions),
    )


def cost_ledger(state: QueryState) -> tuple[Spent, ...]:
    """Token counts of each participant and act, in the order of the steps."""
    by_act: dict[tuple[str, Act], list[Completion]] = {}
    roles = {}
    for s in completed(state.steps):
        assert s.completion is not None
        by_act.setdefault((s.step.participant, s.step.act), []).append(s.completion)
        roles[s.step.participant] = s.step.role
    totals = {key: tokens_of(done).model_dump() for key, done in by_act.items()}
    return tuple(
        Spent(participant=who, role=roles[who], act=act, calls=len(by_act[who, act]), **total)
        for (who, act), total in totals.items()
    )


def latest_texts(state: QueryState) -> dict[str, str]:
    """Each participant's newest text; participants without any are left out."""
    done = ((s.step.participant, s.completion) for s in state.steps)
    return {name: completion.text for name, completion in done if completion is not None}


def client_answer(state: QueryState, client: str, final: str | None = None) -> ClientAnswer:
    """One client's answers in this query.

    Its draft is its first draft or solution; a plan is none. `final` is the answer that a strategy
    selected from several of its texts.
    """
    mine = [s for s in state.steps if s.step.participant == client]
    done = [s.completion for s in mine if s.completion is not None]
    drafts = [s.completion.text for s in mine if s.completion and s.step.act in ("draft", "solve")]
    refined = [s.completion.text for s in mine if s.completion and s.step.act == "refine"]
    reasons = [s.outcome.reason for s in mine if s.outcome and s.outcome.completion is None]
    status: Literal["refined", "drafted", "failed", "idle"]
    if refined:
        status = "refined"
    elif drafts:
        status = "drafted"
    else:
        status = "failed" if mine else "idle"
    return ClientAnswer(
        status=status,
        draft=drafts[0] if drafts else None,
        refined=refined[-1] if refined else final,
        reason=reasons[0] if reasons else None,
        tokens=tokens_of(done),
        seconds=round(sum(c.total_s for c in done), 6),
    )


def guidance_given(state: QueryState) -> tuple[Guidance, ...]:
    """The guidance of every round, with the authors of the drafts that the server read."""
    panels = {d.round: tuple(d.detail["clients"]) for d in state.decisions if d.kind == "panel"}
    return tuple(
        Guidance(
            round=s.step.round,
            text=s.completion.text,
            server=s.step.participant,
            drafts_of=panels.get(s.step.round, ()),
            tokens=tokens_of([s.completion]),
            seconds=round(s.completion.total_s, 6),
        )
        for s in state.steps
        if s.step.act == "synthesize" and s.completion is not None
    )


def missing_notes(state: QueryState, reported: Sequence[StepState]) -> list[str]:
    """A note for each missing draft or refinement that is not in `reported`."""
    acts = ("draft", "refine")
    missing = [s for s in state.steps if s.step.act in acts and s.completion is None]
    return [
        f"round {s.step.round} went on without the {s.step.act} of {s.step.participant} "
        f"({s.outcome.reason})"
        for s in missing
        if s.outcome and s not in reported
    ]
