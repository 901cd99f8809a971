"""The record's database: version, migrations, permissions, pooler, clock."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import Connection, Engine, text

from colm.db.connection import connect, snapshot
from colm.db.connection_pooler import pool_mode, refuses_transactions
from colm.db.schema import migrate, tables
from colm.models.errors import TransientError
from colm.tasks.config.settings import Settings
from colm.workers.doctor.findings import Finding, Findings, ok, problem, warning
from colm.workers.doctor.machine import clock

#: The oldest version that the tests run on.
OLDEST_POSTGRES = 15
#: Table privileges that a coordinator's user lacks.
_LACKING = text(
    "SELECT c.relname || ' (' || p || ')' FROM pg_class c, unnest(ARRAY['SELECT', 'INSERT']) p "
    "WHERE c.relname = ANY(:names) AND pg_table_is_visible(c.oid) "
    "AND NOT has_table_privilege(c.oid, p) ORDER BY 1"
)


def database(config: Settings) -> Findings:
    """All findings on the database. Raises TransientError if it is unreachable."""
    try:
        pending = migrations(config)
    except TransientError:
        if config.database_url.startswith("sqlite") or not refuses_transactions(
            config.database_url
        ):
            raise
        detail = "statement pooling; CoLM needs transactions"
        yield problem("connection pooler", detail, "set pool_mode = session or transaction")
        return
    yield pending
    if config.database_url.startswith("sqlite"):
        yield ok("database", f"{config.shown_database}, on this machine")
        return
    engine = connect(config.database_url, pool_size=2, application_name="colm doctor")
    try:
        with snapshot(engine) as connection:
            number = int(connection.execute(text("SHOW server_version_num")).scalar_one())
            before = datetime.now(UTC)
            theirs = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
            after = datetime.now(UTC)
            limits = [*writable(connection, migrated=pending.grade == "ok")]
        yield from (*limits, *pooler(engine))
    finally:
        engine.dispose()
    yield postgres_version(config.shown_database, number // 10_000)
    took = (after - before).total_seconds()
    skew = (before - theirs).total_seconds() + took / 2
    yield clock("database", skew, took / 2, config.deadlines)


def migrations(config: Settings) -> Finding:
    pending = migrate.pending(config.database_url)
    if pending:
        return problem("migrations", f"the database lacks {', '.join(pending)}", "colm migrate")
    return ok("migrations", "nothing to migrate")


def postgres_version(where: str, version: int) -> Finding:
    if version < OLDEST_POSTGRES:
        do = f"upgrade it: CoLM is tested on PostgreSQL {OLDEST_POSTGRES} and later"
        return warning("database", f"{where}, PostgreSQL {version}", do)
    return ok("database", f"{where}, PostgreSQL {version}")


def writable(connection: Connection, *, migrated: bool) -> Findings:
    """Whether a coordinator could record here; writes nothing."""
    read_only = "SELECT pg_is_in_recovery(), current_setting('default_transaction_read_only')"
    standby, setting = connection.execute(text(read_only)).one()
    if standby or setting == "on":
        why = "a standby" if standby else "default_transaction_read_only is on"
        do = "name the primary; with several hosts in the URL add target_session_attrs=read-write"
        yield problem("database is writable", f"no: {why}. Nothing can be recorded", do)
        return
    names = [table.name for table in tables.metadata.sorted_tables]
    lacking = list(connection.scalars(_LACKING, {"names": names})) if migrated else []
    if lacking:
        do = "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA ... TO this user"
        detail = f"this user lacks privileges on {', '.join(lacking[:5])}"
        yield problem("database is writable", detail, f"{do}; a caller's user needs SELECT only")


def pooler(engine: Engine) -> Findings:
    """The connection pooler in front of the server, if any."""
    match pool_mode(engine):
        case "session":
            yield ok("connection pooler", "session pooling")
        case "transaction":
            yield warning(
                "connection pooler",
                "transaction pooling: LISTEN does not work, waiting callers poll instead",
                "give callers that wait the database itself, or a pool with pool_mode = session",
            )
