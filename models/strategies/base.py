"""The interface of strategies: their input (`QueryState`) and output (`Move`).

A strategy is a pure function without I/O, clock or random numbers: `now` is an argument, and seeds
are derived from the query's seed. The coordinator calls it after every recorded outcome and at
`wake_at`. Since it depends on the record alone, it returns the same move after a redelivery or a
crash of the coordinator.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

from pydantic import BaseModel

from colm.models.messages import Act, Answer, Completion, Query, Step, StepError

#: completed: has a completion. failed: the participant sent an error. expired: no submission before
#: the deadline. late: submitted after the step was closed; ignored.
OutcomeStatus = Literal["completed", "failed", "expired", "late"]


@dataclass(frozen=True, kw_only=True)
class Outcome:
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
    """The record of one query: a strategy's only input. Steps are in the order of dispatch."""

    query: Query
    steps: tuple[StepState, ...] = ()
    decisions: tuple[Decision, ...] = ()

    def stage(self, act: Act, round: int) -> tuple[StepState, ...]:
        return tuple(s for s in self.steps if s.step.act == act and s.step.round == round)

    def decision(self, kind: str, round: int) -> Decision | None:
        """The latest decision of this kind in this round."""
        decisions = [d for d in self.decisions if d.kind == kind and d.round == round]
        return decisions[-1] if decisions else None


@dataclass(frozen=True, kw_only=True)
class Decision:
    """A recorded decision of a strategy: `reason` for the auditor, `detail` for the strategy."""

    kind: str
    round: int
    reason: str
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Close:
    """Closes an open step; a submission after that is late."""

    step_id: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Ask:
    """Dispatch these steps; call the strategy again at the next outcome or at `wake_at`."""

    steps: tuple[Step, ...]
    wake_at: datetime
    closes: tuple[Close, ...] = ()
    decisions: tuple[Decision, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Wait:
    """Call the strategy again at the next outcome or at `wake_at`."""

    wake_at: datetime


@dataclass(frozen=True, kw_only=True)
class Finish:
    """End the query, answered or failed (`answer.status`)."""

    answer: Answer
    closes: tuple[Close, ...] = ()
    decisions: tuple[Decision, ...] = ()


Move = Ask | Wait | Finish


class Strategy(Protocol):
    """Interface of a strategy."""

    @property
    def options(self) -> type[BaseModel]:
        """Model of the options; its fields are documented keyword arguments of `ask`."""

    def check(self, query: Query) -> None:
        """Raises InvalidAsk if the query lacks participants that its options need."""

    def next_move(self, state: QueryState, now: datetime) -> Move:
        """The next move. Never called after a Finish."""


def completed(steps: Iterable[StepState]) -> tuple[StepState, ...]:
    return tuple(s for s in steps if s.completion is not None)


def unfinished(steps: Iterable[StepState]) -> tuple[StepState, ...]:
    return tuple(s for s in steps if s.open)
