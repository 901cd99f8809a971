"""What a strategy sees, and what it can decide.

A strategy is a pure function from a query's state to a `Move`. It does no I/O, reads no clock and
draws no random number: `now` comes in, seeds are derived from the query's own. The coordinator
calls it after every recorded outcome and whenever `wake_at` has come, and acts on what it returns.
Being a function of the record alone, it gives the same move when a message is delivered twice or a
coordinator dies half-way.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

from pydantic import BaseModel

from colm.models.messages import Act, Answer, Completion, Query, Step, StepError

#: completed: has a completion. failed: the participant said why not. expired: nobody answered in
#: time. late: came after the step was closed, and changes nothing.
OutcomeStatus = Literal["completed", "failed", "expired", "late"]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a step."""

    status: OutcomeStatus
    at: datetime
    worker: str = ""
    completion: Completion | None = None
    error: StepError | None = None

    @property
    def reason(self) -> str:
        return f"{self.error.kind}: {self.error.reason}" if self.error else self.status


@dataclass(frozen=True, kw_only=True)
class StepState:
    """A step that was asked, and its outcome once there is one."""

    step: Step
    asked_at: datetime
    outcome: Outcome | None = None

    @property
    def open(self) -> bool:
        return self.outcome is None

    @property
    def completion(self) -> Completion | None:
        return self.outcome.completion if self.outcome else None


@dataclass(frozen=True, kw_only=True)
class QueryState:
    """The record of one query so far: all that a strategy knows. Steps are in the order asked."""

    query: Query
    steps: tuple[StepState, ...] = ()
    decisions: tuple[Decision, ...] = ()

    def stage(self, act: Act, round: int) -> tuple[StepState, ...]:
        return tuple(s for s in self.steps if s.step.act == act and s.step.round == round)

    def decision(self, kind: str, round: int) -> Decision | None:
        """The latest decision of this kind in this round."""
        found = [d for d in self.decisions if d.kind == kind and d.round == round]
        return found[-1] if found else None


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Something a strategy decided, in words for the auditor and in data for the strategy."""

    kind: str
    round: int
    reason: str
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Close:
    """An open step that the query goes on without; what still comes for it is late."""

    step_id: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Ask:
    """Generate these; look again at `wake_at` if nothing has come by then."""

    steps: tuple[Step, ...]
    wake_at: datetime
    closes: tuple[Close, ...] = ()
    decisions: tuple[Decision, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Wait:
    """Nothing to do before another outcome or `wake_at`."""

    wake_at: datetime


@dataclass(frozen=True, kw_only=True)
class Finish:
    """The query is over. `answer.status` says whether it was answered."""

    answer: Answer
    closes: tuple[Close, ...] = ()
    decisions: tuple[Decision, ...] = ()


Move = Ask | Wait | Finish


class Strategy(Protocol):
    """A named way of working together."""

    @property
    def options(self) -> type[BaseModel]:
        """Validates a query's options; its fields are documented keyword arguments of `ask`."""

    def check(self, query: Query) -> None:
        """Raises InvalidAsk when the query's participants cannot carry its options."""

    def next_move(self, state: QueryState, now: datetime) -> Move:
        """What to do next, given all that is recorded. Never called after a Finish."""


def completed(steps: Iterable[StepState]) -> tuple[StepState, ...]:
    return tuple(s for s in steps if s.completion is not None)


def unfinished(steps: Iterable[StepState]) -> tuple[StepState, ...]:
    return tuple(s for s in steps if s.open)
