"""What a pooler before PostgreSQL, such as PgBouncer, leaves of a connection."""

from __future__ import annotations

import contextlib
import secrets
import select
import time
from typing import Any, Literal

import psycopg2
from sqlalchemy import Engine

from colm.db.connection import autocommit, connect, parse
from colm.db.sessions import pooled

#: none: the connections are the server's own. session: lent for as long as we keep them.
#: transaction: lent for one transaction, so that who listens is not told.
Pooling = Literal["none", "session", "transaction"]

#: How long a notification may take (seconds).
TOLD_WITHIN = 2.0


def pooling(engine: Engine) -> Pooling:
    """How the connections of an engine with a pool of two or more are lent. Raises TransientError.

    Tried, not asked: one connection listens, and another tells.
    """
    channel = f"colm_probe_{secrets.token_hex(8)}"
    with autocommit(engine) as ear, autocommit(engine) as mouth:
        if not pooled(ear):
            return "none"
        ear.exec_driver_sql(f"LISTEN {channel}")
        mouth.exec_driver_sql(f"NOTIFY {channel}")
        heard = _told(ear.connection.driver_connection)
        ear.exec_driver_sql(f"UNLISTEN {channel}")
        return "session" if heard else "transaction"


def takes_no_transactions(url: str) -> bool:
    """Whether single statements get through to PostgreSQL, and transactions do not."""
    _, arguments = connect(url).dialect.create_connect_args(parse(url))
    try:
        connection = psycopg2.connect(**arguments)
    except psycopg2.Error:
        return False
    with contextlib.closing(connection):
        try:
            connection.autocommit = True
            connection.cursor().execute("SELECT 1")
        except psycopg2.Error:
            return False
        try:
            connection.cursor().execute("BEGIN")
        except psycopg2.Error:
            return True
        return False


def _told(connection: Any) -> bool:
    until = time.monotonic() + TOLD_WITHIN
    while not connection.notifies and (left := until - time.monotonic()) > 0:
        select.select([connection], [], [], left)
        connection.poll()
    told = bool(connection.notifies)
    connection.notifies.clear()
    return told
