"""What becomes of a PostgreSQL connection when it is opened, lent, used in vain, and thrown away.

Our limits are set once it is open: as a startup parameter PgBouncer would refuse them. Behind a
PgBouncer that lends a server connection for one transaction only, they are set in each.
"""

from __future__ import annotations

from typing import Any

import psycopg2
from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import InvalidatePoolError

from colm.models.errors import SettingsError
from colm.models.urls import redact

#: How long a writer waits for the lock of another, and a hung one may keep it. Far above what any
#: transaction of ours takes, well below what a caller would sit through.
LOCK_TIMEOUT_S = 30
#: PostgreSQL's settings for the two.
LIMITS = ("lock_timeout", "idle_in_transaction_session_timeout")
#: Sets those that neither the URL nor PGOPTIONS has set, where the connection is the server's own.
_SET_LIMITS = """
    SELECT name, CASE WHEN pg_backend_pid() = %s THEN set_config(name, %s, false) END
    FROM pg_settings WHERE name = ANY(%s) AND source <> 'client'
"""

#: Keys of what is known of a connection.
_FRESH, _READ_ONLY, _IN_EACH = "colm_fresh", "colm_read_only", "colm_in_each"

#: SQLSTATEs after which a connection is of no use, though it may look well: 25006, of a primary
#: that is one no more; admin_shutdown, crash_shutdown, cannot_connect_now, too_many_connections.
#: Those of class 08 are connection exceptions.
_USELESS = frozenset({"25006", "57P01", "57P02", "57P03", "53300"})


def attend(engine: Engine) -> None:
    """Have an engine's connections opened, lent and thrown away as this module says."""
    event.listen(engine, "connect", lambda raw, record: _opened(engine, raw, record))
    event.listen(engine, "checkout", _lent)
    event.listen(engine, "begin", _begun)
    event.listen(engine, "handle_error", _failed)


def pooled(connection: Connection) -> bool:
    """Whether a pooler stands between us and the server, which may lend us another each time."""
    return _IN_EACH in connection.connection.info


def check_encoding(url: str, encoding: str | None) -> None:
    """Raises SettingsError for a database that cannot hold every text."""
    if encoding != "UTF8":
        raise SettingsError(
            f"{redact(url)} keeps text as {encoding}, which cannot hold every question and answer; "
            "CoLM needs UTF8. Make another database and name that: createdb --owner OWNER "
            "--encoding UTF8 --locale C --template template0 NAME"
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
    except BaseException:
        raw.close()
        raise
    if missing:
        sets = [f"SET LOCAL {name} = '{LOCK_TIMEOUT_S}s'" for name in missing]
        record.info[_IN_EACH] = "; ".join(sets)
    record.info[_FRESH] = True


def _lent(raw: Any, record: Any, _proxy: object) -> None:
    """Look whether the connection is alive, and its server what it was.

    Where an address moves to another server, the one before may live on, read-only: whoever went on
    reading there would never see what is written on the other.
    """
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


def _begun(connection: Connection) -> None:
    limits = connection.connection.info.get(_IN_EACH)
    if limits and not getattr(connection.connection.dbapi_connection, "autocommit", False):
        connection.exec_driver_sql(limits)


def _failed(context: Any) -> None:
    code = str(getattr(context.original_exception, "pgcode", None) or "")
    if code in _USELESS or code.startswith("08"):
        context.is_disconnect = True  # the whole pool: they all lead to the same server
