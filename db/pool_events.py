"""Pool events of PostgreSQL engines: limits of a new connection, liveness checks, invalidation.

Limits are set after the connection is open: PgBouncer refuses them as startup parameters. Behind a
transaction pooler they are set in each transaction.
"""

from __future__ import annotations

from typing import Any

import psycopg2
from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import InvalidatePoolError

from colm.db.errors import first_line
from colm.models.errors import SettingsError, TransientError
from colm.models.urls import redact

#: Seconds that a writer waits for a lock, and that an idle transaction may hold one.
LOCK_TIMEOUT_S = 30
#: PostgreSQL's settings for them.
LIMITS = ("lock_timeout", "idle_in_transaction_session_timeout")
#: Sets the limits that the client has not set, unless a pooler owns the server connection.
_SET_LIMITS = """
    SELECT name, CASE WHEN pg_backend_pid() = %s THEN set_config(name, %s, false) END
    FROM pg_settings WHERE name = ANY(%s) AND source <> 'client'
"""

#: Keys in a connection's `info`.
_FRESH, _READ_ONLY, _IN_EACH = "colm_fresh", "colm_read_only", "colm_in_each"

#: SQLSTATEs that invalidate a connection, besides class 08: read_only_sql_transaction (a demoted
#: primary), admin_shutdown, crash_shutdown, cannot_connect_now, too_many_connections.
_USELESS = frozenset({"25006", "57P01", "57P02", "57P03", "53300"})


def register(engine: Engine) -> None:
    """Register the event handlers with a PostgreSQL engine."""
    event.listen(engine, "connect", lambda raw, record: _opened(engine, raw, record))
    event.listen(engine, "checkout", _checked_out)
    event.listen(engine, "begin", _transaction_begun)
    event.listen(engine, "handle_error", _failed)


def behind_pooler(connection: Connection) -> bool:
    """Whether a pooler owns the server connection, and may change it."""
    return _IN_EACH in connection.connection.info


def check_encoding(url: str, encoding: str | None) -> None:
    """Raise SettingsError unless the database is UTF-8."""
    if encoding != "UTF8":
        raise SettingsError(
            f"{redact(url)} stores text as {encoding}; CoLM needs UTF8. Create another database: "
            "createdb --owner OWNER --encoding UTF8 --locale C --template template0 NAME"
        )


def _opened(engine: Engine, raw: Any, record: Any) -> None:
    try:
        encoding = raw.info.parameter_status("server_encoding")
        check_encoding(engine.url.render_as_string(), encoding)
        raw.autocommit = True
        with raw.cursor() as cursor:
            limits = (raw.info.backend_pid, f"{LOCK_TIMEOUT_S}s", list(LIMITS))
            cursor.execute(_SET_LIMITS, limits)
            missing = [name for name, value in cursor if value is None]
            cursor.execute("SHOW transaction_read_only")
            record.info[_READ_ONLY] = cursor.fetchone()
        raw.autocommit = False
    except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
        raw.close()  # the server went away; SQLAlchemy does not wrap errors of event handlers
        url = redact(engine.url.render_as_string())
        raise TransientError(f"{url} cannot be used now: {first_line(error)}") from error
    except BaseException:
        raw.close()
        raise
    if missing:
        sets = [f"SET LOCAL {name} = '{LOCK_TIMEOUT_S}s'" for name in missing]
        record.info[_IN_EACH] = "; ".join(sets)
    record.info[_FRESH] = True


def _checked_out(raw: Any, record: Any, _proxy: object) -> None:
    """Invalidate a dead connection, and one to a demoted primary: its reads would be stale."""
    if record.info.pop(_FRESH, False):
        return
    try:
        raw.autocommit = True
        with raw.cursor() as cursor:
            cursor.execute("SHOW transaction_read_only")
            now = cursor.fetchone()
        raw.autocommit = False
    except psycopg2.Error as error:
        raise InvalidatePoolError() from error
    if now != record.info[_READ_ONLY]:
        raise InvalidatePoolError()


def _transaction_begun(connection: Connection) -> None:
    limits = connection.connection.info.get(_IN_EACH)
    if limits and not getattr(connection.connection.dbapi_connection, "autocommit", False):
        connection.exec_driver_sql(limits)


def _failed(context: Any) -> None:
    code = str(getattr(context.original_exception, "pgcode", None) or "")
    if code in _USELESS or code.startswith("08"):
        context.is_disconnect = True  # invalidates the whole pool
