"""Months of recorded queries, made in minutes: true lives with true chains, inserted in bulk."""

from __future__ import annotations

import io
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, Table, insert, text

from colm.db.columns import to_json
from colm.db.connection import transaction
from colm.db.integrity.hash_chain import Fields, Link, chain_links
from colm.db.record.locked_query import SqlLockedQuery
from colm.db.record.rows import FIRST_SEQ, query_row
from colm.db.record.store import new_salt
from colm.db.schema import tables
from colm.models.messages import (
    Answer,
    ClientAnswer,
    Completion,
    Deadlines,
    Participant,
    Query,
    Sampling,
    Step,
    Turn,
)
from colm.models.strategies.base import Ask, Decision, Finish, Outcome

#: Three drafts, one synthesis, three refinements.
STEPS_A_QUERY = 7
CLIENTS = ("ada", "bo", "cy")
#: Queries that are inserted at once.
BATCH = 500
START = datetime(2026, 1, 1, tzinfo=UTC)
_TEMPLATE = "query-template"
_WORDS = "The server reads the drafts and tells every client what to look at again. " * 6


def a_query(query_id: str, asked_at: datetime) -> Query:
    return Query(
        query_id=query_id,
        question="Why does ice float on water?",
        strategy="colm",
        options={"rounds": 1},
        clients=tuple(Participant(name=name, role="client") for name in CLIENTS),
        server=Participant(name="main", role="server"),
        deadlines=Deadlines(),
        seed=7,
        asked_at=asked_at,
    )


def steps_of(query: Query, act: Any, *names: str) -> tuple[Step, ...]:
    return tuple(
        Step(
            query_id=query.query_id,
            round=1,
            act=act,
            participant=name,
            role="server" if name == "main" else "client",
            messages=(Turn(role="system", content="Be short."), Turn(role="user", content=_WORDS)),
            sampling=Sampling(seed=7),
            prompt_version="colm-1",
            deadline_at=query.asked_at + timedelta(seconds=120),
        )
        for name in names
    )


def outcome_of(step: Step, at: datetime) -> Outcome:
    completion = Completion(
        text=_WORDS,
        finish_reason="stop",
        prompt_tokens=140,
        completion_tokens=96,
        total_s=2.5,
        engine="scripted",
        model=f"of {step.participant}",
    )
    return Outcome(status="completed", at=at, worker="a worker", completion=completion)


def moves(query: Query, at: datetime) -> Iterator[tuple[tuple[Step, ...], Ask | Finish]]:
    """The steps that are answered, and the move that follows; none before the first move."""
    wake_at = at + timedelta(seconds=120)
    drafts = steps_of(query, "draft", *CLIENTS)
    synthesis = steps_of(query, "synthesize", "main")
    refinements = steps_of(query, "refine", *CLIENTS)
    panel = Decision(kind="panel", round=1, reason="all drafts are there", detail={"of": CLIENTS})
    chosen = Decision(kind="chosen", round=1, reason="agrees most", detail={"f1": 0.76})
    answer = Answer(
        query_id=query.query_id,
        strategy="colm",
        status="answered",
        answer=_WORDS,
        chosen="ada",
        clients={name: ClientAnswer(status="refined", refined=_WORDS) for name in CLIENTS},
        asked_at=query.asked_at,
        ended_at=at + timedelta(seconds=9),
    )
    yield (), Ask(steps=drafts, wake_at=wake_at)
    yield drafts, Ask(steps=synthesis, wake_at=wake_at, decisions=(panel,))
    yield synthesis, Ask(steps=refinements, wake_at=wake_at)
    yield refinements, Finish(answer=answer, decisions=(chosen,))


def fill(engine: Engine, queries: int) -> Iterator[int]:
    """Insert that many ended queries, a second apart; yields how many were inserted each time."""
    template = _template()
    for first in range(0, queries, BATCH):
        last = min(first + BATCH, queries)
        with transaction(engine) as connection:
            _insert_all(connection, [_copy(template, n) for n in range(first, last)])
        yield last - first
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        analyze = "VACUUM ANALYZE" if engine.dialect.name == "postgresql" else "ANALYZE"
        connection.execute(text(analyze))


def chain_costs(queries: int) -> list[float]:
    """Processor milliseconds that the hashes of a whole query's rows take, for each of several."""
    template, costs = _template(), []
    for _ in range(queries):
        started = time.process_time()
        chain_links(template, None, new_salt)
        costs.append((time.process_time() - started) * 1_000)
    return costs


def query_name(number: int) -> str:
    return f"filled-{number:010d}"


def _template() -> list[Link]:
    query = a_query(_TEMPLATE, START)
    life = SqlLockedQuery.new(query)
    for answered, move in moves(query, START):
        for step in answered:
            life.add_outcome(step.key, outcome_of(step, START + timedelta(seconds=3)))
        life.apply(move, START)
    rows = [Link(table.name, row) for table, each in life.new_rows for row in each]
    return [Link("queries", query_row(query, FIRST_SEQ)), *rows]


def _copy(template: Sequence[Link], number: int) -> tuple[list[Link], Fields]:
    """The template's life under another id, at another time, chained; and its `progress`."""
    query_id, later = query_name(number), timedelta(seconds=number)

    def moved(value: Any) -> Any:
        if isinstance(value, datetime):
            return value + later
        if isinstance(value, str) and value.startswith(_TEMPLATE):
            return query_id + value.removeprefix(_TEMPLATE)
        return value

    copies = [
        Link(link.table, {name: moved(value) for name, value in link.row.items()})
        for link in template
    ]
    links, head = chain_links(copies, None, new_salt)
    progress = {
        "query_id": query_id,
        "open": False,
        "wake_at": START + later,
        "next_seq": len(links) + 1,
        "head": head,
        "sealed": False,
    }
    return links, progress


def _insert_all(connection: Connection, lives: Sequence[tuple[list[Link], Fields]]) -> None:
    links = [link for life, _ in lives for link in life]
    for table in tables.CHAINED:
        _insert(connection, table, [link.row for link in links if link.table == table.name])
        if table is tables.queries:
            _insert(connection, tables.progress, [progress for _, progress in lives])
    marks = [
        {"step_id": link.row["step_id"], "at": link.row["asked_at"]}
        for link in links
        if link.table == "steps"
    ]
    _insert(connection, tables.dispatches, marks)


def _insert(connection: Connection, table: Table, rows: Sequence[Fields]) -> None:
    if not rows:
        return
    if connection.dialect.name != "postgresql":
        connection.execute(insert(table), list(rows))
        return
    names = list(rows[0])
    columns = ", ".join(f'"{name}"' for name in names)
    with connection.connection.cursor() as cursor:  # type: ignore[attr-defined]  # psycopg2's closes itself
        lines = "".join(_copy_line(row[name] for name in names) for row in rows)
        cursor.copy_expert(f"COPY {table.name} ({columns}) FROM STDIN", io.StringIO(lines))


def _copy_line(values: Iterable[Any]) -> str:
    return "\t".join(map(_copy_text, values)) + "\n"


def _copy_text(value: Any) -> str:
    """A value in the text format of PostgreSQL's COPY."""
    match value:
        case None:
            return "\\N"
        case datetime():
            return value.isoformat()
        case dict() | list() | tuple():
            value = to_json(value)
        case _:
            value = str(value)
    return str(value).translate({0x5C: "\\\\", 0x09: "\\t", 0x0A: "\\n", 0x0D: "\\r"})
