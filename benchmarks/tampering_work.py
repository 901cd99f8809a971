"""Tampering by SQL, as the owner of a database can do it: triggers and foreign keys out of the way.

Each tampering changes the database as it finds it, on PostgreSQL or SQLite, and leaves no other
trace than what it is about. `benchmarks.tampering` tries them all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Column, Connection, Engine, Table, delete, insert, select, text, update

from colm.db.integrity.hash_chain import Fields, Link, chain_links
from colm.db.schema import tables
from colm.db.schema.audit_tables import checkpoints, covered_queries, erasures, tombstones
from colm.db.schema.run_tables import RUN_TABLES

Snapshot = list[tuple[Table, list[Fields]]]

#: Covered by a checkpoint; covered and erased; purged; not covered (`benchmarks.tampering`).
CHECKPOINTED, ERASED, PURGED, FRESH = "query-0001", "query-0002", "query-0003", "query-0004"
OTHER = "query-0005"
#: Where these columns may hold only some values: others of them.
_ALLOWED = {
    "outcomes.status": "late",
    "attempts.kind": "alone",
    "answers.status": "failed",
}


@dataclass(frozen=True, kw_only=True)
class Tampering:
    """One way to change a record behind our back."""

    #: Many share one: a line of the table.
    kind: str
    what: str
    do: Callable[[Connection], object]
    #: Whether verification promises to find it.
    promised: bool = True


@contextmanager
def behind_our_back(engine: Engine) -> Iterator[Connection]:
    """A committed transaction without triggers and foreign keys, which are back at its end."""
    with engine.connect() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SET session_replication_role = replica"))
            yield connection
            connection.execute(text("SET session_replication_role = origin"))
            connection.commit()
            return
        pragma = connection.connection.cursor().execute
        pragma("PRAGMA foreign_keys = OFF")  # changes nothing within a transaction
        made = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
        found = connection.execute(text(made)).all()
        try:
            for name, _ in found:
                connection.execute(text(f'DROP TRIGGER "{name}"'))
            yield connection
            for _, sql in found:
                connection.exec_driver_sql(sql)
            connection.commit()
        finally:
            connection.rollback()
            pragma("PRAGMA foreign_keys = ON")


def snapshot(connection: Connection) -> Snapshot:
    return [
        (table, [dict(row._mapping) for row in connection.execute(select(table))])
        for table in tables.metadata.sorted_tables
        if table not in RUN_TABLES
    ]


def restore(connection: Connection, before: Snapshot) -> None:
    for table, _ in before:
        connection.execute(delete(table))
    for table, rows in before:
        if rows:
            connection.execute(insert(table), rows)


def all_tamperings() -> Iterator[Tampering]:
    for table in (*tables.CHAINED[:-1], erasures):
        query_id = ERASED if table is erasures else CHECKPOINTED
        for column in table.c:
            yield _edit(table, column, query_id)
    for name in ("open", "next_seq", "head"):
        yield _edit(tables.progress, tables.progress.c[name], CHECKPOINTED)
    for table in (checkpoints, covered_queries, tombstones):
        for column in table.c:
            yield _edit(table, column, None)
    yield from _removals()
    yield from _additions()
    yield from _moves()
    yield from _forgeries()
    yield from _not_promised()


def _edit(table: Table, column: Column[Any], query_id: str | None) -> Tampering:
    def do(connection: Connection) -> None:
        row = _first(connection, table, query_id)
        value = _other_value(table, column, row[column.name])
        connection.execute(update(table).where(*_key(table, row)).values({column.name: value}))

    return Tampering(kind=f"change a column of {table.name}", what=column.name, do=do)


def _removals() -> Iterator[Tampering]:
    for table in (
        *tables.CHAINED[:-1],
        tables.progress,
        erasures,
        checkpoints,
        covered_queries,
        tombstones,
    ):
        query_id = ERASED if table is erasures else CHECKPOINTED if "query_id" in table.c else None
        if table in (covered_queries, tombstones):
            query_id = None

        def do(c: Connection, table: Table = table, query_id: str | None = query_id) -> None:
            c.execute(delete(table).where(*_key(table, _first(c, table, query_id))))

        yield Tampering(kind="remove a row", what=table.name, do=do)
    yield Tampering(
        kind="remove a whole query", what="covered", do=lambda c: _remove_query(c, CHECKPOINTED)
    )
    yield Tampering(
        kind="remove a whole query",
        what="covered, and from its checkpoint",
        do=_remove_from_checkpoint,
    )
    yield Tampering(
        kind="remove the newest rows", what="of a covered query", do=_shorten(CHECKPOINTED)
    )
    yield Tampering(
        kind="remove the newest checkpoint", what="and what it covers", do=_remove_last_checkpoint
    )


def _additions() -> Iterator[Tampering]:
    for linked in (False, True):
        for late in (False, True):

            def do(c: Connection, linked: bool = linked, late: bool = late) -> None:
                _add_decision(c, CHECKPOINTED if late else FRESH, linked=linked, end=late)

            what = ("after the end, " if late else "") + ("chained" if linked else "unchained")
            if linked and not late:
                continue  # is to compute a chain anew, which comes below
            yield Tampering(kind="add a row", what=what, do=do)
    yield Tampering(kind="add a row", what="a text where there was none", do=_add_text)


def _moves() -> Iterator[Tampering]:
    yield Tampering(kind="swap rows", what="the seq of two steps", do=_swap_seq)
    yield Tampering(kind="swap rows", what="the outcomes of two queries", do=_swap_queries)
    yield Tampering(kind="swap rows", what="the texts of two outcomes, with salts", do=_swap_texts)


def _forgeries() -> Iterator[Tampering]:
    yield Tampering(
        kind="compute a chain anew",
        what="of a covered query",
        do=lambda c: _rewrite(c, CHECKPOINTED),
    )
    yield Tampering(kind="erase without the key", what="text and salt only", do=_erase_quietly)
    yield Tampering(
        kind="erase without the key", what="with a chained erasure, unsigned", do=_erase_unsigned
    )
    yield Tampering(kind="erase without the key", what="and write another text", do=_rewrite_erased)
    yield Tampering(
        kind="purge without the key", what="with an unsigned tombstone", do=_purge_unsigned
    )
    yield Tampering(kind="pass for a record without hashes", what="of a covered query", do=_unchain)


def _not_promised() -> Iterator[Tampering]:
    kind = "before a checkpoint"
    yield Tampering(
        kind=kind, what="compute its chain anew", do=lambda c: _rewrite(c, FRESH), promised=False
    )
    yield Tampering(kind=kind, what="remove its newest rows", do=_shorten(FRESH), promised=False)
    yield Tampering(
        kind=kind, what="remove all of it", do=lambda c: _remove_query(c, FRESH), promised=False
    )


def _first(connection: Connection, table: Table, query_id: str | None) -> Fields:
    found = select(table).order_by(*table.primary_key)
    if query_id is not None:
        found = found.where(table.c.query_id == query_id)
    return dict(connection.execute(found.limit(1)).one()._mapping)


def _key(table: Table, row: Fields) -> list[Any]:
    return [column == row[column.name] for column in table.primary_key]


def _other_value(table: Table, column: Column[Any], value: Any) -> Any:
    name = f"{table.name}.{column.name}"
    if name in _ALLOWED:
        return _ALLOWED[name]
    if value is None:
        return _any_value(column)
    match value:
        case bool():
            return not value
        case int() | float():
            return value - 1_000
        case str():
            return value + "x"
        case datetime():
            return value + timedelta(microseconds=1)
        case dict():
            return (
                {**value, "tampered": "x"} if column.name != "salts" else dict.fromkeys(value, "00")
            )
        case _:
            return [*value, *value]


def _any_value(column: Column[Any]) -> Any:
    kind = type(column.type).__name__
    values = {"Double": 1.0, "BigInteger": 1, "PlainText": "x", "JSON": {"tampered": 1}}
    return values.get(kind, 1)


def _life(connection: Connection, query_id: str) -> list[Link]:
    return sorted(
        (
            Link(table.name, dict(row._mapping))
            for table in tables.CHAINED
            for row in connection.execute(select(table).where(table.c.query_id == query_id))
        ),
        key=lambda link: int(link.row["seq"]),
    )


def _write_life(connection: Connection, query_id: str, links: list[Link]) -> None:
    """Replace a query's rows by these, chained as they come, and have `progress` agree."""
    fresh = [Link(link.table, {**link.row, "seq": seq}) for seq, link in enumerate(links, start=1)]
    chained, head = chain_links(fresh, None, lambda: b"0123456789abcdef")
    for table in tables.CHAINED:
        connection.execute(delete(table).where(table.c.query_id == query_id))
        rows = [link.row for link in chained if link.table == table.name]
        if rows:
            connection.execute(insert(table), rows)
    stands = {
        "head": head,
        "next_seq": len(fresh) + 1,
        "open": all(link.table != "answers" for link in fresh),
    }
    progress = tables.progress
    connection.execute(update(progress).where(progress.c.query_id == query_id).values(**stands))


def _rewrite(connection: Connection, query_id: str) -> None:
    links = _life(connection, query_id)
    for link in links:
        if link.table == "outcomes" and link.row["text"] is not None:
            link.row["text"] = "what was never said"
    _write_life(connection, query_id, links)


def _shorten(query_id: str) -> Callable[[Connection], None]:
    def do(connection: Connection) -> None:
        _write_life(connection, query_id, _life(connection, query_id)[:-2])

    return do


def _remove_query(connection: Connection, query_id: str) -> None:
    for table in (*tables.CHAINED, tables.progress):
        connection.execute(delete(table).where(table.c.query_id == query_id))


def _remove_from_checkpoint(connection: Connection) -> None:
    _remove_query(connection, CHECKPOINTED)
    connection.execute(delete(covered_queries).where(covered_queries.c.query_id == CHECKPOINTED))


def _remove_last_checkpoint(connection: Connection) -> None:
    last = select(checkpoints.c.number).order_by(checkpoints.c.number.desc()).limit(1)
    number = connection.scalar(last)
    connection.execute(delete(covered_queries).where(covered_queries.c.seal == number))
    connection.execute(delete(checkpoints).where(checkpoints.c.number == number))


def _add_decision(connection: Connection, query_id: str, *, linked: bool, end: bool) -> None:
    links = _life(connection, query_id)
    row = next(link.row for link in links if link.table == "decisions")
    added = {**row, "seq": links[-1].row["seq"] + 1 if end else 100, "kind": "another"}
    progress = tables.progress
    stands: Fields = {"next_seq": added["seq"] + 1}
    if linked:
        (link,), head = chain_links(
            [Link("decisions", added)], links[-1].row["hash"], lambda: b"0123456789abcdef"
        )
        added, stands["head"] = link.row, head
    connection.execute(insert(tables.decisions), added)
    connection.execute(update(progress).where(progress.c.query_id == query_id).values(**stands))


def _add_text(connection: Connection) -> None:
    outcomes = tables.outcomes
    at = (outcomes.c.query_id == CHECKPOINTED, outcomes.c.text.isnot(None))
    connection.execute(update(outcomes).where(*at).values(error_reason="a reason"))


def _swap_seq(connection: Connection) -> None:
    steps = tables.steps
    mine = select(steps.c.step_id, steps.c.seq).where(steps.c.query_id == CHECKPOINTED)
    (one, first), (other, second) = connection.execute(mine.order_by(steps.c.seq).limit(2))
    for step_id, seq in ((one, -1), (other, first), (one, second)):
        connection.execute(update(steps).where(steps.c.step_id == step_id).values(seq=seq))


def _swap_queries(connection: Connection) -> None:
    outcomes = tables.outcomes
    mine = _first(connection, outcomes, CHECKPOINTED)
    other = _first(connection, outcomes, OTHER)
    for row in (mine, other):
        connection.execute(delete(outcomes).where(*_key(outcomes, row)))
    for row, taken in ((mine, other), (other, mine)):
        place = {name: taken[name] for name in ("query_id", "seq", "step_id")}
        connection.execute(insert(outcomes), {**row, **place})


def _swap_texts(connection: Connection) -> None:
    outcomes = tables.outcomes
    mine = _first(connection, outcomes, CHECKPOINTED)
    other = _first(connection, outcomes, OTHER)
    for row, taken in ((mine, other), (other, mine)):
        said = {name: taken[name] for name in ("text", "salts", "digests")}
        said["text"] = f"{said['text']} x" if mine["text"] == other["text"] else said["text"]
        connection.execute(update(outcomes).where(*_key(outcomes, row)).values(**said))


def _erase_quietly(connection: Connection) -> None:
    queries = tables.queries
    gone: Fields = {"question": "[erased]", "options": {}, "salts": None}
    connection.execute(update(queries).where(queries.c.query_id == CHECKPOINTED).values(**gone))


def _erase_unsigned(connection: Connection) -> None:
    _erase_quietly(connection)
    links = _life(connection, CHECKPOINTED)
    row = {
        "query_id": CHECKPOINTED, "seq": links[-1].row["seq"] + 1, "at": links[-1].row["ended_at"]
        if "ended_at" in links[-1].row else links[0].row["asked_at"],
        "asked_by": "nobody", "reason": "none", "key": None, "signature": None,
    }  # fmt: skip
    (link,), head = chain_links([Link("erasures", row)], links[-1].row["hash"], lambda: b"")
    connection.execute(insert(erasures), link.row)
    stands = {"next_seq": row["seq"] + 1, "head": head}
    progress = tables.progress
    connection.execute(update(progress).where(progress.c.query_id == CHECKPOINTED).values(**stands))


def _rewrite_erased(connection: Connection) -> None:
    queries = tables.queries
    again = update(queries).where(queries.c.query_id == ERASED)
    connection.execute(again.values(question="What was never asked?"))


def _purge_unsigned(connection: Connection) -> None:
    last = _life(connection, CHECKPOINTED)[-1].row
    _remove_query(connection, CHECKPOINTED)
    stone = {
        "query_id": CHECKPOINTED, "length": last["seq"], "head": last["hash"],
        "purged_at": datetime.fromisoformat("2026-03-02T00:00:00+00:00"), "reason": "retention",
    }  # fmt: skip
    connection.execute(insert(tombstones), stone)


def _unchain(connection: Connection) -> None:
    for table in tables.CHAINED:
        bare = dict.fromkeys({"hash", "digests", "salts"} & set(table.c.keys()))
        connection.execute(update(table).where(table.c.query_id == CHECKPOINTED).values(**bare))
    progress = tables.progress
    connection.execute(
        update(progress).where(progress.c.query_id == CHECKPOINTED).values(head=None)
    )
