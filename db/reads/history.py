"""The whole life of a query, read back for `colm show` and for the auditor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Engine, Table, select

from colm.db.connection import snapshot
from colm.db.reads.answers import Status, StoredLetter
from colm.db.record.rows import Fields, attempt_of, decision_of, outcome_of, query_of, step_of
from colm.db.schema import tables
from colm.db.schema.audit_tables import erasures
from colm.models.messages import Answer, Query, Step
from colm.models.redelivery import Redelivery
from colm.models.strategies.base import Decision, Outcome


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The ask as it was recorded."""

    question: str
    strategy: str
    #: None if the ask was refused.
    query: Query | None


@dataclass(frozen=True, kw_only=True)
class RoundStarted:
    """The first step of a round is about to be asked."""

    round: int


@dataclass(frozen=True, kw_only=True)
class StepOutcome:
    """What became of a step. An outcome that came late changed nothing."""

    step_id: str
    outcome: Outcome


@dataclass(frozen=True, kw_only=True)
class StepTried:
    """What a participant told of a step that may have killed a worker."""

    step_id: str
    tried: Redelivery


@dataclass(frozen=True, kw_only=True)
class Ended:
    """What ended the query. A refused ask has no answer."""

    status: Status
    reason: str | None
    answer: Answer | None


@dataclass(frozen=True, kw_only=True)
class Erased:
    """Every text recorded before was erased."""

    asked_by: str
    reason: str


What = Asked | RoundStarted | Step | StepTried | StepOutcome | Decision | Ended | Erased


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One thing that happened."""

    #: Counts a query's entries from 1, without gaps.
    seq: int
    at: datetime
    what: What


@dataclass(frozen=True, kw_only=True)
class Dispatch:
    """A step's message was in its queue."""

    step_id: str
    at: datetime


@dataclass(frozen=True, kw_only=True)
class History:
    """All that is recorded of a query."""

    entries: tuple[Entry, ...]
    dispatches: tuple[Dispatch, ...]
    dead_letters: tuple[StoredLetter, ...]


def query_life(engine: Engine, query_id: str) -> History | None:
    """Everything that is recorded of a query, in the order in which it happened.

    None if the record does not know it.
    """
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


def _asked(row: Fields) -> Asked:
    refused = row["clients"] is None
    return Asked(
        question=row["question"],
        strategy=row["strategy"],
        query=None if refused else query_of(row),
    )


def _ended(row: Fields) -> Ended:
    answer = None if row["answer"] is None else Answer.model_validate(row["answer"])
    return Ended(status=row["status"], reason=row["reason"], answer=answer)


@dataclass(frozen=True, kw_only=True)
class _Kind:
    """How the rows of one table tell of a query."""

    table: Table
    at: str
    what: Callable[[Fields], What]


_KINDS = (
    _Kind(table=tables.queries, at="asked_at", what=_asked),
    _Kind(table=tables.rounds, at="at", what=lambda row: RoundStarted(round=row["round"])),
    _Kind(table=tables.steps, at="asked_at", what=step_of),
    _Kind(
        table=tables.attempts,
        at="at",
        what=lambda row: StepTried(step_id=row["step_id"], tried=attempt_of(row)),
    ),
    _Kind(
        table=tables.outcomes,
        at="at",
        what=lambda row: StepOutcome(step_id=row["step_id"], outcome=outcome_of(row)),
    ),
    _Kind(table=tables.decisions, at="at", what=decision_of),
    _Kind(table=tables.answers, at="ended_at", what=_ended),
    _Kind(
        table=erasures,
        at="at",
        what=lambda row: Erased(asked_by=row["asked_by"], reason=row["reason"]),
    ),
)


def _entries(connection: Connection, query_id: str) -> Iterator[Entry]:
    for kind in _KINDS:
        for row in _rows(connection, kind.table, query_id):
            yield Entry(seq=row["seq"], at=row[kind.at], what=kind.what(row))


def _rows(connection: Connection, table: Table, query_id: str) -> list[Fields]:
    found = connection.execute(select(table).where(table.c.query_id == query_id))
    return [dict(row._mapping) for row in found]


def _dispatches(connection: Connection, step_ids: list[str]) -> list[Dispatch]:
    dispatches = tables.dispatches
    statement = select(dispatches).where(dispatches.c.step_id.in_(step_ids))
    rows = connection.execute(statement.order_by(dispatches.c.at, dispatches.c.step_id))
    return [Dispatch(**row._mapping) for row in rows]


def _dead_letters(connection: Connection, query_id: str) -> list[StoredLetter]:
    letters = [StoredLetter(**row) for row in _rows(connection, tables.dead_letters, query_id)]
    return sorted(letters, key=lambda letter: letter.at)
