"""The database's errors in CoLM's words, translated at the edge."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from colm.models.errors import ColmError, SettingsError, TransientError
from colm.models.urls import redact

#: read_only_sql_transaction: a standby that has not taken over yet; insufficient_privilege: rights
#: that somebody took away, and can give back. What is accepted waits for either.
_REFUSED_FOR_NOW = ("25006", "42501")
#: program_limit_exceeded and its kind: the row is too large for an index, a column, a message.
_LIMIT_EXCEEDED = "54"
#: What the server, or a pooler before it, does not take: it will not take it the next time.
_REFUSED_FOR_GOOD = {
    "unsupported startup parameter": "a pooler before the database refuses a parameter that the "
    "URL or PGOPTIONS sets: take it out there, and have the database set it instead (ALTER ROLE "
    "... SET), or name it in PgBouncer's ignore_startup_parameters",
    "invalid connection option": "a parameter of the URL is not known to this machine's libpq",
}
#: undefined_table and undefined_column.
_UNMIGRATED = ("42P01", "42703")
#: What SQLite says of a file that is none of its own, or is damaged.
_SQLITE_DAMAGED = {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}
_SQLITE_UNMIGRATED = ("no such table", "no such column", "has no column named")


@contextmanager
def translated(url: URL) -> Iterator[None]:
    """Raise TransientError where the database is away, SettingsError where it is not migrated.

    Other errors of the database are faults of the program and pass through.
    """
    try:
        yield
    except PoolTimeoutError as error:
        raise TransientError(f"no connection to {_safe(url)} came free in time") from error
    except DBAPIError as error:
        found = _translation(url, error)
        if found is None:
            raise
        raise found from error


def _translation(url: URL, error: DBAPIError) -> ColmError | None:
    if _unmigrated(error):
        return SettingsError(f"{_safe(url)} lacks tables of this version: run `colm migrate`")
    for words, advice in _REFUSED_FOR_GOOD.items():
        if words in str(error.orig):
            return SettingsError(f"{_safe(url)}: {advice}. {_first_line(error.orig)}")
    if getattr(error.orig, "sqlite_errorcode", None) in _SQLITE_DAMAGED:
        return SettingsError(f"{_safe(url)} is no record, or a damaged one: {error.orig}")
    if error.connection_invalidated or _passing(error):
        return unusable(url, error.orig)
    return None


def unusable(url: URL, why: BaseException | None) -> TransientError:
    """What to raise for an error of the driver itself."""
    return TransientError(f"{_safe(url)} cannot be used now: {_first_line(why)}")


def _first_line(why: BaseException | None) -> str:
    return str(why).strip().partition("\n")[0]


def _unmigrated(error: DBAPIError) -> bool:
    if isinstance(error.orig, sqlite3.Error):
        return any(words in str(error.orig) for words in _SQLITE_UNMIGRATED)
    return getattr(error.orig, "pgcode", None) in _UNMIGRATED


def _passing(error: DBAPIError) -> bool:
    if getattr(error.orig, "pgcode", None) in _REFUSED_FOR_NOW:
        return True
    if not isinstance(error, (OperationalError, InterfaceError)):
        return False
    if str(getattr(error.orig, "pgcode", "")).startswith(_LIMIT_EXCEEDED):
        return False  # psycopg2 calls it operational, but the same row will never fit
    if isinstance(error.orig, sqlite3.Error):
        # SQLite also calls a fault in our SQL an operational error; busy, full and the like have
        # codes of their own.
        code = getattr(error.orig, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
        return bool(code != sqlite3.SQLITE_ERROR)
    return True


def _safe(url: URL) -> str:
    return redact(url.render_as_string(hide_password=True))
