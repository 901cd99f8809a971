"""Migration of a database to this version's tables.

Processes may migrate at once: one does, the others wait. A failed migration is rolled back.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import Script, ScriptDirectory
from sqlalchemy import Connection, Engine, func, select, text

from colm.db.connection import connect, snapshot, transaction
from colm.db.sqlite_file import is_missing
from colm.models.errors import SettingsError

#: PostgreSQL advisory lock of a migration; any number that no other program uses.
_LOCK = 0x436F4C4D

MIGRATIONS = Path(__file__).resolve().parents[2] / "migrations"


def upgrade(url: str, migrations: Path = MIGRATIONS) -> None:
    """Apply every pending migration in one transaction.

    Raises SettingsError if the database is newer than this version, TransientError if it is away.
    """
    with _migrating(url) as connection:
        if _missing(connection, migrations):
            command.upgrade(_config(migrations, connection), "head")


def pending(url: str, migrations: Path = MIGRATIONS) -> list[str]:
    """The pending migrations, oldest first, one line each. Raises like `upgrade`."""
    engine = connect(url, pool_size=1)
    nothing = is_missing(engine.url)
    missing = _in_order(migrations) if nothing else _read_missing(engine, migrations)
    return [f"{script.revision} {script.doc}" for script in missing]


def new(url: str, subject: str, migrations: Path = MIGRATIONS) -> None:
    """Autogenerate a migration to `db.schema.tables` (for developers). Add triggers by hand."""
    with _migrating(url) as connection:
        number = f"{len(list(_scripts(migrations).walk_revisions())) + 1:04d}"
        command.revision(_config(migrations, connection), subject, autogenerate=True, rev_id=number)


def _read_missing(engine: Engine, migrations: Path) -> list[Script]:
    try:
        with snapshot(engine) as connection:
            return _missing(connection, migrations)
    finally:
        engine.dispose()


def _missing(connection: Connection, migrations: Path) -> list[Script]:
    scripts = _in_order(migrations)
    applied = MigrationContext.configure(connection).get_current_revision()
    if applied is None:
        return scripts
    revisions = [script.revision for script in scripts]
    if applied not in revisions:
        raise SettingsError(
            f"the database was migrated to {applied} by a newer CoLM; this one has migrations "
            f"up to {revisions[-1]}: install the newer version"
        )
    return scripts[revisions.index(applied) + 1 :]


def _in_order(migrations: Path) -> list[Script]:
    return list(reversed(list(_scripts(migrations).walk_revisions())))


@contextmanager
def _migrating(url: str) -> Iterator[Connection]:
    engine = connect(url, pool_size=1, application_name="colm migrate", create=True)
    try:
        with transaction(engine) as connection:
            if connection.dialect.name == "postgresql":
                # A migration of millions of rows takes its time.
                connection.execute(text("SET LOCAL lock_timeout = 0"))
                connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
            yield connection
    finally:
        engine.dispose()


def _config(migrations: Path, connection: Connection | None = None) -> Config:
    config = Config(stdout=StringIO(), attributes={"connection": connection})
    config.set_main_option("script_location", str(migrations).replace("%", "%%"))
    config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    return config


def _scripts(migrations: Path) -> ScriptDirectory:
    return ScriptDirectory.from_config(_config(migrations))
