"""Opening the file of a SQLite record: who makes it, who may read it, and what cannot be written.

To look at a record makes none. Whoever makes one makes it for its user alone, whatever the umask;
SQLite gives the files beside it the same mode. A record on media that cannot be written is opened
as it lies there, which SQLite by itself does not do: it would have to write beside it.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Mapping
from typing import Any, NoReturn
from urllib.parse import quote

from sqlalchemy import URL

from colm.models.errors import SettingsError, TransientError

_PRAGMAS = (
    "journal_mode = WAL",
    "synchronous = FULL",
    "foreign_keys = ON",
    # Or INSERT OR REPLACE would remove rows behind the triggers' back.
    "recursive_triggers = ON",
)


def is_missing(url: URL) -> bool:
    """Whether the URL names a SQLite file, by its path, that nobody has made yet."""
    path, folder = str(url.database), os.path.dirname(os.path.abspath(str(url.database)))
    by_path = url.get_backend_name() == "sqlite" and "uri" not in url.query
    return by_path and not os.path.exists(path) and os.path.isdir(folder)


def opener(*, create: bool) -> Callable[..., Any]:
    """A listener of SQLAlchemy's `do_connect`: opens the file, and makes it if it may `create`."""
    seen = False

    def open_file(_dialect: object, _record: object, args: Any, given: dict[str, Any]) -> Any:
        nonlocal seen
        options = dict(given)
        if options.pop("uri", False):  # whoever writes SQLite's own URI says how it is opened
            return _prepared(sqlite3.connect(*args, uri=True, **options))
        path = os.path.realpath(args[0])
        if create:
            _make(path)
        elif not os.path.exists(path):
            _refuse(path, seen=seen)
        connection = _prepared(_connect(path, options))
        seen = True
        return connection

    return open_file


def _refuse(path: str, *, seen: bool) -> NoReturn:
    missing = f"there is no record at {path}"
    if seen:  # a disk that is not mounted now
        raise TransientError(f"{missing} any more")
    make = "`colm migrate` makes one, and `colm up` does"
    if os.path.isdir(os.path.dirname(path)):
        raise SettingsError(f"{missing}: {make}")
    raise TransientError(f"{missing} (unable to open database file): {make}")


def _make(path: str) -> None:
    with contextlib.suppress(OSError):  # there already, or SQLite says what is wrong
        file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        os.fchmod(file, 0o600)
        os.close(file)


def _connect(path: str, options: Mapping[str, Any]) -> sqlite3.Connection:
    writable = os.access(path, os.W_OK) and os.access(os.path.dirname(path), os.W_OK)
    if writable or not os.access(path, os.R_OK):
        return _opened(path, "mode=rw", options)
    changes = f"{path}-wal"
    if not os.path.exists(changes) or os.path.getsize(changes) == 0:
        return _opened(path, "mode=ro&immutable=1", options)
    # Somebody may be writing it; then what lies beside it can be read, too.
    try:
        connection = _opened(path, "mode=ro", options)
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
    except sqlite3.OperationalError as error:
        raise SettingsError(
            f"{path} cannot be written here, and its latest changes are still in {changes}: copy "
            "both to a folder of yours and name that copy in COLM_DATABASE"
        ) from error
    return connection


def _opened(path: str, how: str, options: Mapping[str, Any]) -> sqlite3.Connection:
    url = f"file:{quote(os.fsencode(path))}?{how}"
    connection: sqlite3.Connection = sqlite3.connect(url, uri=True, **options)
    return connection


def _prepared(connection: sqlite3.Connection) -> sqlite3.Connection:
    # The driver opens transactions by its own rules unless told not to; we send BEGIN.
    connection.isolation_level = None
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")
    return connection
