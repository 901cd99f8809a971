"""Errors of a publish that say whether the message may have been accepted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from amqp.exceptions import AMQPError
from kombu import Producer
from kombu.exceptions import OperationalError

from colm.models.errors import Overloaded, TransientError
from colm.tasks.celery_app import app

#: A caller waits for an unreachable broker for about a second (attempts, and seconds between them).
RETRY_POLICY = {"max_retries": 2, "interval_start": 0.1, "interval_max": 0.5}


@contextmanager
def sending(what: str, check: str, producer: Producer | None = None) -> Iterator[None]:
    """Connect, then run the block, which publishes `what`.

    A TransientError says that nothing was sent if no connection was made. If the connection failed
    later, before the broker's confirm, the broker may have stored the message: the error says so,
    and `check` is the command that tells.
    """
    try:
        connected = connect(producer)
    except (OperationalError, OSError) as error:
        why = str(error) or repr(error)
        raise TransientError(f"the broker cannot be reached: {why}; nothing was sent") from error
    try:
        yield
    except Overloaded:
        raise
    except TransientError as error:
        if not connected:
            raise
        raise TransientError(
            f"{error}. It failed before the broker confirmed {what}, which may have been accepted: "
            f"{check}"
        ) from error


def connect(producer: Producer | None) -> bool:
    """Open the connection that is published through; False if the broker refuses it.

    The publish reports the refusal.
    """
    try:
        with app.producer_or_acquire(producer) as acquired:
            acquired.connection.ensure_connection(**RETRY_POLICY)
    except AMQPError:
        return False
    return True
