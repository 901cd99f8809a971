"""Who listens to which queue, and how much lies in it. Reads only; never declares."""

from __future__ import annotations

from typing import NamedTuple

from amqp.exceptions import NotFound

from tasks.celery_app import app
from tasks.settings import settings

#: How long workers on the embedded broker are given to say which queues they read (seconds).
ANSWER_WITHIN = 1.0


class QueueDepth(NamedTuple):
    """A queue as the broker sees it; `consumers` is None where the broker cannot tell."""

    name: str
    messages: int
    consumers: int


def count_consumers(queue: str) -> int:
    """How many workers read `queue`; 0 also where there is no such queue."""
    return depth(queue).consumers


def depth(queue: str) -> QueueDepth:
    """The messages ready in `queue` and the workers that read it."""
    with app.connection_for_read() as connection:
        channel = connection.default_channel
        if settings().embedded:
            return QueueDepth(queue, int(channel._size(queue)), _embedded_consumers(queue))
        try:
            declared = channel.queue_declare(queue, passive=True)
        except NotFound:
            return QueueDepth(queue, 0, 0)
        return QueueDepth(queue, declared.message_count, declared.consumer_count)


def _embedded_consumers(queue: str) -> int:
    answers = app.control.inspect(timeout=ANSWER_WITHIN).active_queues() or {}
    return sum(queue in {q["name"] for q in queues} for queues in answers.values())
