"""Triggers that make tables append-only.

Two operations pass, each while its own transaction holds a row in `permits`: `purge` deletes rows,
`erase` replaces texts. The database owner can drop triggers; the audit finds that.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

from sqlalchemy import Connection, Table, event, text

Operation = Literal["purge", "erase"]

#: Key in `Table.info` of the arguments of `statements`.
_OPTIONS = "append_only"

_REFUSAL = "{table} is append-only: what was recorded of a query is never changed or removed"
_NO_PERMIT = "NOT EXISTS (SELECT 1 FROM permits WHERE operation = '{operation}')"

_POSTGRESQL_FUNCTION = f"""
CREATE OR REPLACE FUNCTION colm_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_NARGS > 0 AND EXISTS (SELECT 1 FROM permits WHERE operation = TG_ARGV[0]) THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION '{_REFUSAL.format(table="%")} (%)', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'restrict_violation';
END $$
"""

# FOR EACH STATEMENT also fires on TRUNCATE.
_POSTGRESQL_TRIGGER = """
CREATE TRIGGER {table}_{name} BEFORE {events} ON {table}
FOR EACH STATEMENT EXECUTE FUNCTION colm_refuse_change({permit})
"""

_SQLITE_TRIGGER = """
CREATE TRIGGER {table}_append_only_{name} BEFORE {events} ON {table}{condition}
BEGIN SELECT RAISE(ABORT, '{refusal} ({event})'); END
"""


def statements(
    dialect: str, table: str, *, purged: bool = False, unchangeable: Sequence[str] = ()
) -> list[str]:
    """The SQL that makes `table` append-only.

    `purged`: `purge` may delete its rows. `unchangeable`: `erase` may replace its other columns.
    """
    if dialect == "postgresql":
        return [_POSTGRESQL_FUNCTION, *_on_postgresql(table, purged, unchangeable)]
    return list(_on_sqlite(table, purged, unchangeable))


def _on_postgresql(table: str, purged: bool, unchangeable: Sequence[str]) -> Iterator[str]:
    if not purged and not unchangeable:
        every = "UPDATE OR DELETE OR TRUNCATE"
        yield _POSTGRESQL_TRIGGER.format(table=table, name="append_only", events=every, permit="")
        return
    parts = [("append_only", _update_of(unchangeable) + " OR TRUNCATE", "")]
    parts.append(("append_only_delete", "DELETE", "'purge'" if purged else ""))
    if unchangeable:
        parts.append(("append_only_update", "UPDATE", "'erase'"))
    for name, events, permit in parts:
        yield _POSTGRESQL_TRIGGER.format(table=table, name=name, events=events, permit=permit)


def _on_sqlite(table: str, purged: bool, unchangeable: Sequence[str]) -> Iterator[str]:
    parts: list[tuple[str, str, Operation | None]] = [
        ("UPDATE", "UPDATE", "erase" if unchangeable else None),
        ("DELETE", "DELETE", "purge" if purged else None),
    ]
    if unchangeable:
        parts.append(("KEPT", _update_of(unchangeable), None))
    for name, events, operation in parts:
        condition = "\nWHEN " + _NO_PERMIT.format(operation=operation) if operation else ""
        yield _SQLITE_TRIGGER.format(
            table=table,
            name=name,
            events=events,
            event=events.partition(" ")[0],
            condition=condition,
            refusal=_REFUSAL.format(table=table),
        )


def triggers(dialect: str, table: Table) -> list[str]:
    """The names of the triggers of `table`."""
    if _OPTIONS not in table.info:
        return []
    return re.findall(r"CREATE TRIGGER (\w+)", " ".join(_statements_of(dialect, table)))


def _statements_of(dialect: str, table: Table) -> list[str]:
    return statements(dialect, table.name, **table.info[_OPTIONS])


def _update_of(columns: Iterable[str]) -> str:
    named = ", ".join(f'"{column}"' for column in columns)
    return f"UPDATE OF {named}" if named else "UPDATE"


def append_only_triggers(
    table: Table, *, purged: bool = False, erasable: Sequence[str] = ()
) -> None:
    """Create the triggers whenever `table` is created; see `statements`."""
    unchangeable = (
        [column.name for column in table.c if column.name not in erasable] if erasable else []
    )
    table.info[_OPTIONS] = {"purged": purged, "unchangeable": unchangeable}

    def protect(_table: Table, connection: Connection, **_options: object) -> None:
        for statement in _statements_of(connection.dialect.name, table):
            connection.execute(text(statement))

    event.listen(table, "after_create", protect)


@contextmanager
def with_permit(connection: Connection, operation: Operation) -> Iterator[None]:
    """Permit `operation` in this transaction."""
    connection.execute(text("INSERT INTO permits (operation) VALUES (:name)"), {"name": operation})
    yield
    connection.execute(text("DELETE FROM permits WHERE operation = :name"), {"name": operation})
