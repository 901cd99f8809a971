"""What may have been sent when the broker failed in between."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from amqp.exceptions import AMQPError
from kombu.exceptions import OperationalError

from colm.models.errors import Overloaded, TransientError
from colm.tasks.celery_app import app

#: How long a broker that is away is tried (attempts, and seconds between them).
PATIENCE = {"max_retries": 2, "interval_start": 0.1, "interval_max": 0.5}


@contextmanager
def sending(what: str, look: str) -> Iterator[None]:
    """Send `what` in the block. A TransientError says whether it may have been sent; `look` tells.

    A broker confirms what it has stored. One that fails before the confirm may have stored it.
    """
    connected = False
    try:
        # A refusal is told of by what is sent.
        with suppress(AMQPError), app.producer_or_acquire() as producer:
            producer.connection.ensure_connection(**PATIENCE)
            connected = True
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
            f"{error}. It failed while {what} was sent, which may be there all the same: {look}"
        ) from error
