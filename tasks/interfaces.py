"""Protocols of the parts that task bodies use; `workers` installs the implementations.

`colm.db.record.store.SqlRecord` implements `QueryStore`. Task bodies construct neither a store nor
an engine, so a caller needs no GPU and no database.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, Literal, Protocol

from colm.models.cancellation import Cancel
from colm.models.dead_letter import DeadLetter
from colm.models.messages import Answer, Attempt, Query, Step, StepKey, Submission
from colm.models.receipt import Receipt
from colm.models.redelivery import Redelivery
from colm.models.roster import Roster
from colm.models.strategies.base import Move, Outcome, QueryState

#: The result of a cancellation.
Cancelled = Literal["cancelled", "ended", "unknown"]


class LockedQuery(Protocol):
    """One query, locked against every other coordinator until the `with` block ends.

    The block commits on a clean exit and rolls back on an exception.
    """

    #: The recorded state; `add_outcome` and `apply` extend it.
    @property
    def state(self) -> QueryState: ...

    #: True once an answer is recorded; nothing can be applied then.
    @property
    def ended(self) -> bool: ...

    def add_outcome(self, key: StepKey, outcome: Outcome) -> Receipt: ...

    def add_attempt(self, attempt: Attempt, at: datetime) -> Receipt:
        """Record a redelivery of a step; the receipt is late once the step has ended."""

    def redelivery_history(self, step_id: str) -> Sequence[Redelivery]:
        """Recorded redeliveries of a step, oldest first."""

    def apply(self, move: Move, now: datetime) -> None:
        """Record the steps, closes, decisions and answer of `move`, and when to wake next."""


class QueryStore(Protocol):
    """Store of queries. Every method raises TransientError while the database is away."""

    def begin(self, query: Query) -> AbstractContextManager[LockedQuery]:
        """Open a new query for its first move; a repeat opens the recorded one."""

    def open(self, query_id: str) -> AbstractContextManager[LockedQuery]:
        """Open a recorded query; raises UnknownQuery."""

    def refuse(
        self, query_id: str, question: str, strategy: str, reason: str, now: datetime
    ) -> None:
        """Record a refused ask as a failed answer. Repeats change nothing."""

    def due(self, now: datetime, limit: int) -> Sequence[str]:
        """Ids of open queries whose `wake_at` has passed, oldest first."""

    def stranded(self, asked_before: datetime, limit: int) -> Sequence[Step]:
        """Open steps of open queries asked before then and never marked as dispatched."""

    def mark_dispatched(self, step_ids: Iterable[str], at: datetime) -> None:
        """Record that these steps are in their queues. Repeats are harmless."""

    def add_dead_letter(self, letter: DeadLetter) -> None: ...


class Announcer(Protocol):
    """Receives the end of every query at least once, for Flower and metrics."""

    def refused(self, query_id: str, reason: str) -> None: ...

    def ended(self, answer: Answer) -> None: ...


class Coordinator(Protocol):
    """The part of a coordinator that task bodies call. Every method may raise TransientError."""

    @property
    def record(self) -> QueryStore: ...

    @property
    def announce(self) -> Announcer: ...

    @property
    def roster(self) -> Roster: ...

    @property
    def clock(self) -> Callable[[], datetime]: ...

    def accept(self, query_id: str, question: Any, options: Mapping[str, Any]) -> None:
        """Open the query of an ask, or record its refusal."""

    def submit(self, submission: Submission) -> Receipt:
        """Record the outcome of a step and run what follows from it."""

    def attempt(self, attempt: Attempt) -> Receipt:
        """Record a redelivery of a step, and decide whether it is retried."""

    def cancel(self, cancel: Cancel) -> Cancelled:
        """Fail a query and stop its open steps."""

    def not_recorded(self, step: StepKey, why: str) -> Receipt:
        """Fail a step whose outcome cannot be recorded."""
