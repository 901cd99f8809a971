"""What the task bodies need from the outside, as protocols. `workers` installs the real parts.

`db.record.SqlRecord` keeps `Record`, an engine of `models.engines` keeps the engine protocol. The
bodies never construct either, which is why asking needs no GPU and no database.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from models.attempts import Tried
from models.messages import Attempt, Query, Step, StepKey
from models.strategies.base import Move, Outcome, QueryState

#: recorded: the step's outcome is now this one. repeated: the step had an outcome from the same
#: kind of submission already, nothing changed. late: the step was closed before; kept apart.
#: unasked: no such step was ever asked of this participant; nothing was stored.
Receipt = Literal["recorded", "repeated", "late", "unasked"]


@dataclass(frozen=True, kw_only=True)
class DeadLetter:
    """A message given up on, with the reason. `body` is what could be read of it."""

    #: The Celery task id; a second letter with the same id changes nothing.
    message_id: str
    task: str
    queue: str
    reason: str
    at: datetime
    body: str
    query_id: str | None = None
    step_id: str | None = None


class Life(Protocol):
    """One query, locked against every other coordinator until the `with` block ends.

    The block commits on a clean exit and rolls back on an exception.
    """

    #: The record so far; grows with `add_outcome` and `apply`.
    @property
    def state(self) -> QueryState: ...

    #: True once an answer is recorded: nothing can be applied any more.
    @property
    def ended(self) -> bool: ...

    def add_outcome(self, key: StepKey, outcome: Outcome) -> Receipt: ...

    def add_attempt(self, attempt: Attempt, at: datetime) -> Receipt:
        """Take what is told of a step that may have killed a worker; late once it is over."""

    def tried(self, step_id: str) -> Sequence[Tried]:
        """All that was told of a step that may have killed a worker, in the order told."""

    def apply(self, move: Move, now: datetime) -> None:
        """Record the steps, closes, decisions and answer of `move`, and when to wake next."""


class Record(Protocol):
    """All that is stored. Every method may raise TransientError when the database is away."""

    def begin(self, query: Query) -> AbstractContextManager[Life]:
        """Open a query for its first move; a repeat opens what is recorded already."""

    def open(self, query_id: str) -> AbstractContextManager[Life]:
        """Open a recorded query; raises UnknownQuery."""

    def refuse(
        self, query_id: str, question: str, strategy: str, reason: str, now: datetime
    ) -> None:
        """Record an ask that cannot become a query, as a failed answer. Repeats change nothing."""

    def due(self, now: datetime, limit: int) -> Sequence[str]:
        """Ids of open queries whose `wake_at` has passed, oldest first."""

    def stranded(self, asked_before: datetime, limit: int) -> Sequence[Step]:
        """Open steps of open queries asked before then and never marked as dispatched."""

    def mark_dispatched(self, step_ids: Iterable[str], at: datetime) -> None:
        """Note that these steps are in their queues. Repeats are harmless."""

    def add_dead_letter(self, letter: DeadLetter) -> None: ...
