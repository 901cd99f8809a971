"""Connections to the record: one way in for PostgreSQL, one for SQLite, the same promises.

What has been committed survives a killed process and a power cut. Writers of one query wait for
each other; readers wait for nobody. Every failure of the connection is a TransientError.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy
from sqlalchemy import URL, Connection, Engine, event, make_url

from db.columns import to_json
from db.failures import translated
from db.sqlite_file import opener
from models.errors import SettingsError, TransientError

#: How long a writer waits for the lock of another, and a hung one may keep it. Far above what any
#: transaction of ours takes, well below what a caller would sit through.
LOCK_TIMEOUT_S = 30
CONNECT_TIMEOUT_S = 10

#: Marks the connections that take SQLite's write lock at once: a reader that turns writer in
#: mid-transaction would be refused instead of waiting for its turn.
_WRITES = "colm_writes"
#: Names the lock for which the threads of a process queue before they compete with other processes
#: for SQLite's: that one is waited for by sleeping and looking again, longer each time.
_TURN = "colm_turn"


def connect(
    url: str | URL, *, pool_size: int = 5, application_name: str = "colm", create: bool = False
) -> Engine:
    """An engine for the record at `url`; connects to nothing yet.

    A SQLite file that is not there is made with `create` only. Raises SettingsError if CoLM keeps
    no record in such a database.
    """
    target = parse(url)
    if target.get_backend_name() == "sqlite":
        return _sqlite(target, pool_size, create=create)
    return _postgresql(target, pool_size, application_name)


def parse(url: str | URL) -> URL:
    """`url` with its driver filled in; SettingsError names what is wrong with it, no password."""
    try:
        target = make_url(url)
    except sqlalchemy.exc.ArgumentError as error:
        raise SettingsError("the database URL cannot be read") from error
    match target.drivername:
        case "sqlite" | "sqlite+pysqlite":
            if target.database in (None, "", ":memory:"):
                raise SettingsError("the database URL names no file: use sqlite:////path/to/file")
            return target
        case "postgresql" | "postgresql+psycopg2":
            # SQLAlchemy takes a bare postgresql:// for psycopg 3.
            return target.set(drivername="postgresql+psycopg2")
        case other:
            raise SettingsError(f"{other} is not a database for CoLM: use PostgreSQL or SQLite")


def postgresql_options(application_name: str) -> dict[str, Any]:
    """libpq's settings: no connection hangs on a dead network or behind a hung process."""
    return {
        "application_name": application_name,
        "connect_timeout": CONNECT_TIMEOUT_S,
        "keepalives": 1,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": LOCK_TIMEOUT_S * 1000,
        "options": f"-c lock_timeout={LOCK_TIMEOUT_S}s"
        f" -c idle_in_transaction_session_timeout={LOCK_TIMEOUT_S}s",
    }


def _postgresql(url: URL, pool_size: int, application_name: str) -> Engine:
    return sqlalchemy.create_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=LOCK_TIMEOUT_S,
        pool_pre_ping=True,
        # A life reads the steps after it has waited for the lock: each statement must see what was
        # committed until then, whatever the server's default is.
        isolation_level="READ COMMITTED",
        connect_args=postgresql_options(application_name),
        json_serializer=to_json,
        # Parameters are prompts and completions: they do not belong into logs.
        hide_parameters=True,
    )


def _sqlite(url: URL, pool_size: int, *, create: bool) -> Engine:
    engine = sqlalchemy.create_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=LOCK_TIMEOUT_S,
        connect_args={"timeout": LOCK_TIMEOUT_S},
        execution_options={_TURN: threading.Lock()},
        json_serializer=to_json,
        hide_parameters=True,
    )
    event.listen(engine, "do_connect", opener(create=create))
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A transaction: committed on a clean exit, rolled back on an exception."""
    with (
        translated(engine.url),
        _turn(engine),
        engine.connect().execution_options(**{_WRITES: True}) as connection,
        connection.begin(),
    ):
        yield connection


@contextmanager
def _turn(engine: Engine) -> Iterator[None]:
    lock: threading.Lock | None = engine.get_execution_options().get(_TURN)
    if lock is None:
        yield
        return
    if not lock.acquire(timeout=LOCK_TIMEOUT_S):
        raise TransientError(f"another thread has been writing to {engine.url} for too long")
    try:
        yield
    finally:
        lock.release()


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A consistent view of the record: every statement in the block sees the same moment."""
    with translated(engine.url), engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            connection.execution_options(isolation_level="REPEATABLE READ")
        with connection.begin():
            yield connection


@contextmanager
def glancing(engine: Engine) -> Iterator[Connection]:
    """For a single statement: no transaction around it, hence the fewest round trips."""
    with translated(engine.url), engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            connection.execution_options(isolation_level="AUTOCOMMIT")
        yield connection
