"""What strategies share: asking a stage, closing it at its deadline, ending a query. Pure."""

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
    """A step whose seed depends on the query's seed and its place in the query, on nothing else.

    It shows the query's images, if `shows`. `sampling` replaces what the participant samples with,
    where it is not None.
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
    """A stage in which nothing is open any more, and the record as if its closes were stored."""

    state: QueryState
    steps: tuple[StepState, ...]
    closes: tuple[Close, ...]

    @property
    def completed(self) -> tuple[StepState, ...]:
        return completed(self.steps)

    def reasons(self) -> str:
        """Why each step without a completion has none."""
        missing = [s for s in self.steps if s.completion is None]
        return "; ".join(
            f"{s.step.participant}: {s.outcome.reason}" for s in missing if s.outcome is not None
        )


def close_stage(state: QueryState, now: datetime) -> ClosedStage | Wait:
    """The stage last asked, closed; or Wait while a step is open and its deadline not reached.

    Nobody waits, beside others, for one that let its latest step expire: it was asked all the same.
    """
    last = state.steps[-1].step
    steps = state.stage(last.act, last.round)
    deadline = max(s.step.deadline_at for s in steps)
    gone = silent(state)
    awaited = [s for s in steps if s.step.participant not in gone] or steps
    if unfinished(awaited) and now < deadline:
        return Wait(wake_at=deadline)
    closes = tuple(
        Close(step_id=s.step.step_id, reason=_why_closed(s, now)) for s in unfinished(steps)
    )
    closed = apply_closes(state, closes, now)
    return ClosedStage(state=closed, steps=closed.stage(last.act, last.round), closes=closes)


def apply_closes(state: QueryState, closes: Sequence[Close], now: datetime) -> QueryState:
    """The state with every closed step's outcome set to "expired"."""
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


def silent(state: QueryState) -> frozenset[str]:
    """Participants whose latest decided step expired."""
    latest = {s.step.participant: s.outcome.status for s in state.steps if s.outcome}
    return frozenset(name for name, status in latest.items() if status == "expired")


def _why_closed(s: StepState, now: datetime) -> str:
    who, act = s.step.participant, s.step.act
    if now < s.step.deadline_at:
        return f"{act} not waited for: nothing had come from {who} the last time"
    waited = seconds_between(s.asked_at, s.step.deadline_at)
    return f"nothing came from {who} before the {act} deadline, {waited:.1f} s after it was asked"


class Chosen(NamedTuple):
    """The text that the caller is given, who wrote it, and why it was chosen."""

    name: str
    text: str
    because: str


class Told(TypedDict, total=False):
    """What a strategy may tell of its way with an answer."""

    closes: tuple[Close, ...]
    notes: Sequence[str]
    selected: tuple[str, ...] | None
    detail: dict[str, Any]
    #: What a client ends with, where that is no refined answer of its own.
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
    **told: Unpack[Told],
) -> Finish:
    """End the query with `chosen`, or choose among `candidates` (participant to text), or fail."""
    if chosen is None and candidates and failure is None:
        choice = select_answer(candidates, kind, question=state.query.question)
        chosen = Chosen(choice.name, candidates[choice.name], choice.because)
    return end(state, now, chosen, failure=failure, **told)


def end(
    state: QueryState,
    now: datetime,
    chosen: Chosen | None,
    *,
    failure: str | None = None,
    **told: Unpack[Told],
) -> Finish:
    """End the query with `chosen`, or fail with `failure` where there is nothing to choose."""
    query, notes = state.query, tuple(told.get("notes", ()))
    finals = told.get("finals", {})
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
        selected=told.get("selected"),
        rounds=max((s.step.round for s in state.steps), default=0),
        degraded=bool(notes) or any(s.completion is None for s in state.steps),
        notes=notes,
        tokens=tokens_of(completions),
        ledger=cost_ledger(state),
        detail=told.get("detail", {}),
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
    decisions = (*told.get("decisions", ()), decision)
    return Finish(answer=answer, closes=told.get("closes", ()), decisions=decisions)
