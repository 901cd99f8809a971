"""The record's database: reachable, new enough, migrated, and of one mind about the time."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import text

from db import migrate
from db.engine import connect, reading
from tasks.settings import Settings
from workers.checks import Finding, Findings, ok, problem, warning
from workers.checks_machine import clock

#: The oldest version that the tests run on.
OLDEST_POSTGRES = 15


def database(found: Settings) -> Findings:
    """All there is to say about the database. Raises TransientError where it is away."""
    yield migrations(found)
    if found.database_url.startswith("sqlite"):
        yield ok("database", f"{found.shown_database}, on this machine")
        return
    engine = connect(found.database_url, pool_size=1, application_name="colm doctor")
    try:
        with reading(engine) as connection:
            number = int(connection.execute(text("SHOW server_version_num")).scalar_one())
            before = datetime.now(UTC)
            theirs = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
            after = datetime.now(UTC)
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
