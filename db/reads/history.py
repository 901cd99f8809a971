"""The whole recorded life of a query, for `colm show` and the audit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Engine, Table, select

from colm.db.connection import snapshot
from colm.db.reads.answers import Status
from colm.db.record.rows import Fields, attempt_of, decision_of, outcome_of, query_of, step_of
from colm.db.schema import tables
from colm.db.schema.audit_tables import erasures
from colm.models.dead_letter import DeadLetter
from colm.models.messages import Answer, Query, Step
from colm.models.redelivery import Redelivery
from colm.models.strategies.base import Decision, Outcome


@dataclass(frozen=True, kw_only=True)
class QueryAsked:
    """The question as recorded."""

    question: str
    strategy: str
    #: None if the question was refused.
    query: Query | None


@dataclass(frozen=True, kw_only=True)
class RoundStarted:
    """Start of a round."""

    round: int


@dataclass(frozen=True, kw_only=True)
class StepOutcome:
    """Outcome of a step; a late one changed nothing."""

    step_id: str
    outcome: Outcome


@dataclass(frozen=True, kw_only=True)
class StepRedelivered:
    """An attempt at a step that may have killed a worker."""

    step_id: str
    redelivery: Redelivery


@dataclass(frozen=True, kw_only=True)
class QueryEnded:
    """End of the query. A refused one has no answer."""

    status: Status
    reason: str | None
    answer: Answer | None


@dataclass(frozen=True, kw_only=True)
class TextsErased:
    """Erasure of every text recorded before."""

    asked_by: str
    reason: str


RecordedEvent = (
    QueryAsked
    | RoundStarted
    | Step
    | StepRedelivered
    | StepOutcome
    | Decision
    | QueryEnded
    | TextsErased
)


@dataclass(frozen=True, kw_only=True)
class HistoryEntry:
    """One event of a query."""

    #: From 1, gap-free within the query.
    seq: int
    at: datetime
    what: RecordedEvent


@dataclass(frozen=True, kw_only=True)
class Dispatch:
    """A publication of a step's message."""

    step_id: str
    at: datetime


@dataclass(frozen=True, kw_only=True)
class History:
    """Everything that is recorded of a query."""

    entries: tuple[HistoryEntry, ...]
    dispatches: tuple[Dispatch, ...]
    dead_letters: tuple[DeadLetter, ...]


def query_history(engine: Engine, query_id: str) -> History | None:
    """Everything that is recorded of a query, in order; None if it is not recorded."""
    with snapshot(engine) as connection:
        entries = sorted(_entries(connection, query_id), key=lambda entry: entry.seq)
        if not entries:
            return None
        steps = [entry.what for entry in entries if isinstance(entry.what, Step)]
        return History(
            entries=tuple(entries),
            dispatches=tuple(_dispatches(connection, [step.step_id for step in steps])),
            dead_letters=tuple(_dead_letters(connection, query_id)),
        )


def _asked(row: Fields) -> QueryAsked:
    query = None if row["clients"] is None else query_of(row)  # refused
    return QueryAsked(question=row["question"], strategy=row["strategy"], query=query)


def _ended(row: Fields) -> QueryEnded:
    answer = None if row["answer"] is None else Answer.model_validate(row["answer"])
    return QueryEnded(status=row["status"], reason=row["reason"], answer=answer)


#: Table -> its time column, and the conversion of its rows.
_SOURCES: dict[Table, tuple[str, Callable[[Fields], RecordedEvent]]] = {
    tables.queries: ("asked_at", _asked),
    tables.rounds: ("at", lambda row: RoundStarted(round=row["round"])),
    tables.steps: ("asked_at", step_of),
    tables.attempts: (
        "at", lambda row: StepRedelivered(step_id=row["step_id"], redelivery=attempt_of(row))
    ),
    tables.outcomes: (
        "at", lambda row: StepOutcome(step_id=row["step_id"], outcome=outcome_of(row))
    ),
    tables.decisions: ("at", decision_of),
    tables.answers: ("ended_at", _ended),
    erasures: ("at", lambda row: TextsErased(asked_by=row["asked_by"], reason=row["reason"])),
}  # fmt: skip


def _entries(connection: Connection, query_id: str) -> Iterator[HistoryEntry]:
    for table, (at, event_of) in _SOURCES.items():
        for row in _rows(connection, table, query_id):
            yield HistoryEntry(seq=row["seq"], at=row[at], what=event_of(row))


def _rows(connection: Connection, table: Table, query_id: str) -> list[Fields]:
    rows = connection.execute(select(table).where(table.c.query_id == query_id))
    return [dict(row._mapping) for row in rows]


def _dispatches(connection: Connection, step_ids: list[str]) -> list[Dispatch]:
    dispatches = tables.dispatches
    statement = select(dispatches).where(dispatches.c.step_id.in_(step_ids))
    rows = connection.execute(statement.order_by(dispatches.c.at, dispatches.c.step_id))
    return [Dispatch(**row._mapping) for row in rows]


def _dead_letters(connection: Connection, query_id: str) -> list[DeadLetter]:
    letters = [DeadLetter(**row) for row in _rows(connection, tables.dead_letters, query_id)]
    return sorted(letters, key=lambda letter: letter.at)
