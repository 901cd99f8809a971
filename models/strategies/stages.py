"""Building blocks of strategies: make a step, close a stage, finish a query. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypedDict, Unpack

from colm.models.answers.compare import Kind
from colm.models.answers.selection import select_answer
from colm.models.messages import (
    Act,
    Answer,
    Participant,
    Query,
    Step,
    StepError,
    Turn,
    derive_seed,
    seconds_between,
)
from colm.models.prompts import colm
from colm.models.strategies.answer_report import (
    client_answer,
    cost_ledger,
    guidance_given,
    tokens_of,
)
from colm.models.strategies.base import (
    Close,
    Decision,
    Finish,
    Outcome,
    QueryState,
    StepState,
    Wait,
    completed,
    unfinished,
)
from colm.models.vision import with_images


def query_deadline(query: Query) -> datetime:
    return query.asked_at + timedelta(seconds=query.deadlines.query)


def make_step(
    query: Query,
    participant: Participant,
    act: Act,
    round: int,
    messages: tuple[Turn, ...],
    now: datetime,
    *,
    index: int = 0,
    version: str = colm.VERSION,
    choices: tuple[str, ...] = (),
    shows: bool = True,
    **sampling: Any,
) -> Step:
    """A step. Its seed is derived from the query's seed, round, act, participant and index.

    `shows` adds the query's images. Values of `sampling` that are not None replace the
    participant's.
    """
    changes = {name: value for name, value in sampling.items() if value is not None}
    limit = timedelta(seconds=getattr(query.deadlines, act))
    seed = derive_seed(query.seed, round, act, participant.name, index)
    return Step(
        query_id=query.query_id,
        round=round,
        act=act,
        participant=participant.name,
        index=index,
        role=participant.role,
        messages=with_images(query, participant, act, messages) if shows else messages,
        sampling=participant.sampling.model_copy(update={"seed": seed, **changes}),
        prompt_version=version,
        deadline_at=min(now + limit, query_deadline(query)),
        choices=choices,
        lane=query.lane,
    )


@dataclass(frozen=True, kw_only=True)
class ClosedStage:
    """A stage without open steps, and the state with its closes applied."""

    state: QueryState
    steps: tuple[StepState, ...]
    closes: tuple[Close, ...]

    @property
    def completed(self) -> tuple[StepState, ...]:
        return completed(self.steps)

    def reasons(self) -> str:
        missing = [s for s in self.steps if s.completion is None]
        return "; ".join(
            f"{s.step.participant}: {s.outcome.reason}" for s in missing if s.outcome is not None
        )


def close_stage(state: QueryState, now: datetime) -> ClosedStage | Wait:
    """The latest stage, closed; or Wait while a step is open and its deadline not reached.

    The stage does not wait for a participant whose latest step expired, unless it is the only one.
    """
    last = state.steps[-1].step
    steps = state.stage(last.act, last.round)
    deadline = max(s.step.deadline_at for s in steps)
    silent = silent_participants(state)
    awaited = [s for s in steps if s.step.participant not in silent] or steps
    if unfinished(awaited) and now < deadline:
        return Wait(wake_at=deadline)
    closes = tuple(
        Close(step_id=s.step.step_id, reason=_why_closed(s, now)) for s in unfinished(steps)
    )
    closed = apply_closes(state, closes, now)
    return ClosedStage(state=closed, steps=closed.stage(last.act, last.round), closes=closes)


def apply_closes(state: QueryState, closes: Sequence[Close], now: datetime) -> QueryState:
    reasons = {close.step_id: close.reason for close in closes}
    steps = tuple(
        replace(s, outcome=expired(reasons[s.step.step_id], now))
        if s.open and s.step.step_id in reasons
        else s
        for s in state.steps
    )
    return replace(state, steps=steps)


def expired(reason: str, now: datetime) -> Outcome:
    return Outcome(status="expired", at=now, error=StepError(kind="expired", reason=reason))


def silent_participants(state: QueryState) -> frozenset[str]:
    """Participants whose latest step with an outcome expired."""
    latest = {s.step.participant: s.outcome.status for s in state.steps if s.outcome}
    return frozenset(name for name, status in latest.items() if status == "expired")


def _why_closed(s: StepState, now: datetime) -> str:
    who, act = s.step.participant, s.step.act
    if now < s.step.deadline_at:
        return f"{act} not waited for: the step of {who} before it expired"
    waited = seconds_between(s.asked_at, s.step.deadline_at)
    return f"nothing came from {who} before the {act} deadline, {waited:.1f} s after it was asked"


class Chosen(NamedTuple):
    """The answer for the caller: author, text, and the reason for the choice."""

    name: str
    text: str
    because: str


class Report(TypedDict, total=False):
    """Optional parts of a `Finish`."""

    closes: tuple[Close, ...]
    notes: Sequence[str]
    selected: tuple[str, ...] | None
    detail: dict[str, Any]
    #: Final answers of clients, instead of their refined answers.
    finals: Mapping[str, str]
    decisions: tuple[Decision, ...]


def finish(
    state: QueryState,
    now: datetime,
    *,
    candidates: Mapping[str, str],
    chosen: Chosen | None = None,
    kind: Kind | None = None,
    failure: str | None = None,
    **report: Unpack[Report],
) -> Finish:
    """End the query with `chosen`, or select from `candidates` (participant to text), or fail."""
    if chosen is None and candidates and failure is None:
        choice = select_answer(candidates, kind, question=state.query.question)
        chosen = Chosen(choice.name, candidates[choice.name], choice.because)
    return end(state, now, chosen, failure=failure, **report)


def end(
    state: QueryState,
    now: datetime,
    chosen: Chosen | None,
    *,
    failure: str | None = None,
    **report: Unpack[Report],
) -> Finish:
    """End the query with `chosen`, or fail with the reason `failure`."""
    query, notes = state.query, tuple(report.get("notes", ()))
    finals = report.get("finals", {})
    completions = [s.completion for s in state.steps if s.completion is not None]
    answer = Answer(
        query_id=query.query_id,
        strategy=query.strategy,
        status="answered" if chosen else "failed",
        answer=chosen.text if chosen else None,
        chosen=chosen.name if chosen else None,
        chosen_because=chosen.because if chosen else None,
        reason=None if chosen else failure or "nobody answered",
        clients={c.name: client_answer(state, c.name, finals.get(c.name)) for c in query.clients},
        guidance=guidance_given(state),
        selected=report.get("selected"),
        rounds=max((s.step.round for s in state.steps), default=0),
        degraded=bool(notes) or any(s.completion is None for s in state.steps),
        notes=notes,
        tokens=tokens_of(completions),
        ledger=cost_ledger(state),
        detail=report.get("detail", {}),
        seconds=seconds_between(query.asked_at, now),
        asked_at=query.asked_at,
        ended_at=now,
    )
    decision = Decision(
        kind="answer" if chosen else "failure",
        round=max(1, answer.rounds),
        reason=f"{chosen.name}: {chosen.because}" if chosen else answer.reason or "",
        detail={"chosen": chosen.name} if chosen else {},
    )
    decisions = (*report.get("decisions", ()), decision)
    return Finish(answer=answer, closes=report.get("closes", ()), decisions=decisions)
