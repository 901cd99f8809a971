"""The record's database: reachable, new enough, migrated, writable, of one mind about the time."""

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
#: What a coordinator's user may not do to the tables; empty where it may do all of it.
_LACKING = text(
    "SELECT c.relname || ' (' || p || ')' FROM pg_class c, unnest(ARRAY['SELECT', 'INSERT']) p "
    "WHERE c.relname = ANY(:names) AND pg_table_is_visible(c.oid) "
    "AND NOT has_table_privilege(c.oid, p) ORDER BY 1"
)


def database(found: Settings) -> Findings:
    """All there is to say about the database. Raises TransientError where it is away."""
    try:
        pending = migrations(found)
    except TransientError:
        if found.database_url.startswith("sqlite") or not refuses_transactions(found.database_url):
            raise
        told = "lends a connection for one statement, and CoLM needs transactions"
        yield problem("connection pooler", told, "set pool_mode = session or transaction")
        return
    yield pending
    if found.database_url.startswith("sqlite"):
        yield ok("database", f"{found.shown_database}, on this machine")
        return
    engine = connect(found.database_url, pool_size=2, application_name="colm doctor")
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
    yield postgres_version(found.shown_database, number // 10_000)
    took = (after - before).total_seconds()
    skew = (before - theirs).total_seconds() + took / 2
    yield clock("database", skew, took / 2, found.deadlines)


def migrations(found: Settings) -> Finding:
    pending = migrate.pending(found.database_url)
    if pending:
        return problem("migrations", f"the database lacks {', '.join(pending)}", "colm migrate")
    return ok("migrations", "nothing to migrate")


def postgres_version(where: str, version: int) -> Finding:
    if version < OLDEST_POSTGRES:
        do = f"upgrade it: CoLM is tested on PostgreSQL {OLDEST_POSTGRES} and later"
        return warning("database", f"{where}, PostgreSQL {version}", do)
    return ok("database", f"{where}, PostgreSQL {version}")


def writable(connection: Connection, *, migrated: bool) -> Findings:
    """Whether a coordinator could record anything here; nothing is written to find out."""
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
        told = f"this user has no right to {', '.join(lacking[:5])}"
        yield problem("database is writable", told, f"{do}; a caller's user needs SELECT only")


def pooler(engine: Engine) -> Findings:
    """What stands between us and the server, where something does."""
    match pool_mode(engine):
        case "session":
            yield ok("connection pooler", "lends each connection for as long as it is used")
        case "transaction":
            yield warning(
                "connection pooler",
                "lends a connection for one transaction: who waits for an answer is not told of "
                "it, and looks now and then instead",
                "give callers that wait the database itself, or a pool with pool_mode = session",
            )
