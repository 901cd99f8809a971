"""Translation of database errors to CoLM's."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from colm.models.errors import ColmError, SettingsError, TransientError
from colm.models.urls import redact

#: read_only_sql_transaction (a standby before its promotion) and insufficient_privilege: retried.
_REFUSED_FOR_NOW = ("25006", "42501")
#: Class of program_limit_exceeded: the row is too large.
_LIMIT_EXCEEDED = "54"
#: Connection parameters that the server or a pooler refuses: not retried.
_REFUSED_FOR_GOOD = {
    "unsupported startup parameter": "a pooler before the database refuses a parameter of the "
    "URL or PGOPTIONS: set it in the database instead (ALTER ROLE ... SET), or add it to "
    "PgBouncer's ignore_startup_parameters",
    "invalid connection option": "this machine's libpq does not support a parameter of the URL",
}
#: undefined_table and undefined_column.
_UNMIGRATED = ("42P01", "42703")
_SQLITE_DAMAGED = {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}
_SQLITE_UNMIGRATED = ("no such table", "no such column", "has no column named")


@contextmanager
def translated(url: URL) -> Iterator[None]:
    """Raise TransientError if the database is away, SettingsError if it is not migrated.

    Other database errors are bugs and pass through.
    """
    try:
        yield
    except PoolTimeoutError as error:
        raise TransientError(f"no connection to {_safe(url)} became free in time") from error
    except DBAPIError as error:
        translation = _translation(url, error)
        if translation is None:
            raise
        raise translation from error


def _translation(url: URL, error: DBAPIError) -> ColmError | None:
    if _unmigrated(error):
        return SettingsError(f"{_safe(url)} lacks tables of this version: run `colm migrate`")
    for words, advice in _REFUSED_FOR_GOOD.items():
        if words in str(error.orig):
            return SettingsError(f"{_safe(url)}: {advice}. {first_line(error.orig)}")
    if getattr(error.orig, "sqlite_errorcode", None) in _SQLITE_DAMAGED:
        return SettingsError(f"{_safe(url)} is not a record of CoLM, or is damaged: {error.orig}")
    if error.connection_invalidated or _transient(error):
        return TransientError(f"{_safe(url)} cannot be used now: {first_line(error.orig)}")
    return None


def first_line(why: BaseException | None) -> str:
    return str(why).strip().partition("\n")[0]


def _unmigrated(error: DBAPIError) -> bool:
    if isinstance(error.orig, sqlite3.Error):
        return any(words in str(error.orig) for words in _SQLITE_UNMIGRATED)
    return getattr(error.orig, "pgcode", None) in _UNMIGRATED


def _transient(error: DBAPIError) -> bool:
    if getattr(error.orig, "pgcode", None) in _REFUSED_FOR_NOW:
        return True
    if not isinstance(error, (OperationalError, InterfaceError)):
        return False
    if str(getattr(error.orig, "pgcode", "")).startswith(_LIMIT_EXCEEDED):
        return False  # operational for psycopg2, but permanent
    if isinstance(error.orig, sqlite3.Error):
        # A fault in our SQL has the code ERROR; busy, full and others have their own.
        code = getattr(error.orig, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
        return bool(code != sqlite3.SQLITE_ERROR)
    return True


def _safe(url: URL) -> str:
    return redact(url.render_as_string(hide_password=True))
