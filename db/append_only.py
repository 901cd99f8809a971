"""Triggers that refuse to change or remove what was recorded, whoever asks.

They guard against mistakes in our code and in an operator's SQL, not against the database's owner,
who can drop them: that is what the audit is for.
"""

from __future__ import annotations

from sqlalchemy import Connection, Table, event, text

_REFUSAL = "{table} is append-only: what was recorded of a query is never changed or removed"

_POSTGRESQL_FUNCTION = f"""
CREATE OR REPLACE FUNCTION colm_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '{_REFUSAL.format(table="%")} (%)', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'restrict_violation';
END $$
"""

# Once a statement, so that an INSERT pays nothing and a TRUNCATE is seen too.
_POSTGRESQL_TRIGGER = """
CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}
FOR EACH STATEMENT EXECUTE FUNCTION colm_refuse_change()
"""

_SQLITE_TRIGGER = """
CREATE TRIGGER {table}_append_only_{event} BEFORE {event} ON {table}
BEGIN SELECT RAISE(ABORT, '{refusal} ({event})'); END
"""


def statements(dialect: str, table: str) -> list[str]:
    """The SQL that makes `table` append-only on a database of this dialect."""
    if dialect == "postgresql":
        return [_POSTGRESQL_FUNCTION, _POSTGRESQL_TRIGGER.format(table=table)]
    refusal = _REFUSAL.format(table=table)
    return [
        _SQLITE_TRIGGER.format(table=table, event=change, refusal=refusal)
        for change in ("UPDATE", "DELETE")
    ]


def refuse_changes(table: Table) -> None:
    """Have `table` made append-only wherever it is created."""

    def protect(_table: Table, connection: Connection, **_options: object) -> None:
        for statement in statements(connection.dialect.name, table.name):
            connection.execute(text(statement))

    event.listen(table, "after_create", protect)
