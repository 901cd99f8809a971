"""Who listens to which queue, and how much lies in it. Reads only; never declares.

Every look raises TransientError where the broker cannot be reached.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from amqp.exceptions import NotFound
from kombu.exceptions import OperationalError

from models.errors import TransientError
from tasks.celery_app import app
from tasks.settings import settings

#: How long workers on the embedded broker are given to say which queues they read (seconds).
ANSWER_WITHIN = 1.0


class QueueDepth(NamedTuple):
    """A queue as the broker sees it."""

    name: str
    messages: int
    consumers: int


def count_consumers(queue: str) -> int:
    """How many workers read `queue`; 0 also where there is no such queue."""
    return depth(queue).consumers


def depth(queue: str) -> QueueDepth:
    """The messages ready in `queue` and the workers that read it."""
    with _reached(), app.connection_for_read() as connection:
        channel: Any = connection.default_channel  # the stubs know the common part only
        if settings().embedded:
            return QueueDepth(queue, int(channel._size(queue)), _read_on_embedded().count(queue))
        try:
            declared = channel.queue_declare(queue, passive=True)
        except NotFound:
            return QueueDepth(queue, 0, 0)
        return QueueDepth(queue, declared.message_count, declared.consumer_count)


def listened_to(queues: Iterable[str]) -> set[str]:
    """Those of `queues` that at least one worker reads."""
    if settings().embedded:
        return set(queues) & set(_read_on_embedded())
    return {queue for queue in queues if count_consumers(queue)}


def _read_on_embedded() -> list[str]:
    with _reached():
        answers = app.control.inspect(timeout=ANSWER_WITHIN).active_queues() or {}
    return [queue["name"] for queues in answers.values() for queue in queues]


@contextmanager
def _reached() -> Iterator[None]:
    try:
        yield
    except (OperationalError, OSError) as error:
        raise TransientError(f"the broker cannot be reached: {error}") from error
