"""Detection of a connection pooler, such as PgBouncer, before PostgreSQL."""

from __future__ import annotations

import contextlib
import secrets
from typing import Literal

import psycopg2
from sqlalchemy import Engine

from colm.db import notifications
from colm.db.connection import autocommit, connect, parse
from colm.db.pool_events import behind_pooler

#: transaction: each transaction may get another server connection, so LISTEN does not work.
PoolMode = Literal["none", "session", "transaction"]

#: Seconds that a notification may take.
NOTIFY_TIMEOUT_S = 2.0


def pool_mode(engine: Engine) -> PoolMode:
    """The pooling mode before an engine with two or more connections. Raises TransientError.

    Found by a test: one connection listens, another notifies.
    """
    channel = f"colm_probe_{secrets.token_hex(8)}"
    with autocommit(engine) as listener, autocommit(engine) as sender:
        if not behind_pooler(listener):
            return "none"
        listener.exec_driver_sql(f"LISTEN {channel}")
        driver = listener.connection.driver_connection
        payload = notifications.send_test(sender, channel)
        received = notifications.is_received(driver, payload, NOTIFY_TIMEOUT_S)
        listener.exec_driver_sql(f"UNLISTEN {channel}")
        return "session" if received else "transaction"


def refuses_transactions(url: str) -> bool:
    """Whether a pooler takes single statements but no transactions (`pool_mode = statement`)."""
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
