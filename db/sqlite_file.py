"""Opening the file of a SQLite record.

Only `create` makes a file, with mode 0600; SQLite copies the mode to the files beside it. A record
on read-only media is opened as immutable: SQLite by itself would have to write beside it.
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
    # INSERT OR REPLACE fires DELETE triggers only with this.
    "recursive_triggers = ON",
)


def is_missing(url: URL) -> bool:
    """Whether the URL names, by path, a SQLite file that does not exist in an existing folder."""
    path, folder = str(url.database), os.path.dirname(os.path.abspath(str(url.database)))
    by_path = url.get_backend_name() == "sqlite" and "uri" not in url.query
    return by_path and not os.path.exists(path) and os.path.isdir(folder)


def opener(*, create: bool) -> Callable[..., Any]:
    """A listener of SQLAlchemy's `do_connect` that opens the file."""
    opened = False

    def open_file(_dialect: object, _record: object, args: Any, options: dict[str, Any]) -> Any:
        nonlocal opened
        options = dict(options)
        if options.pop("uri", False):  # SQLite's own URI says how to open it
            return _prepared(sqlite3.connect(*args, uri=True, **options))
        path = os.path.realpath(args[0])
        if create:
            _make(path)
        elif not os.path.exists(path):
            _refuse(path, opened_before=opened)
        connection = _prepared(_connect(path, options))
        opened = True
        return connection

    return open_file


def _refuse(path: str, *, opened_before: bool) -> NoReturn:
    missing = f"there is no record at {path}"
    if opened_before:  # the disk may be unmounted
        raise TransientError(f"{missing} any more")
    make = "run `colm migrate` or `colm up`"
    if os.path.isdir(os.path.dirname(path)):
        raise SettingsError(f"{missing}: {make}")
    raise TransientError(f"{missing} (unable to open database file): {make}")


def _make(path: str) -> None:
    with contextlib.suppress(OSError):  # it exists, or SQLite reports the error
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
    # With a live writer, its shared memory can be read.
    try:
        connection = _opened(path, "mode=ro", options)
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
    except sqlite3.OperationalError as error:
        raise SettingsError(
            f"{path} cannot be written here, and its latest changes are in {changes}: copy "
            "both to a writable folder and set COLM_DATABASE to the copy"
        ) from error
    return connection


def _opened(path: str, how: str, options: Mapping[str, Any]) -> sqlite3.Connection:
    url = f"file:{quote(os.fsencode(path))}?{how}"
    connection: sqlite3.Connection = sqlite3.connect(url, uri=True, **options)
    return connection


def _prepared(connection: sqlite3.Connection) -> sqlite3.Connection:
    # No implicit transactions: we send BEGIN.
    connection.isolation_level = None
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")
    return connection
