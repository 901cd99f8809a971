"""Messages and consumers of queues. Never declares.

On RabbitMQ it uses pika, independent of Celery and its pools.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import pika
from kombu.exceptions import OperationalError
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import AMQPError, ChannelClosedByBroker

from colm.models.errors import TransientError
from colm.tasks.broker.capabilities import broker
from colm.tasks.broker.connection import describe_error, display_address, pika_parameters
from colm.tasks.broker.publish import NOT_FOUND
from colm.tasks.celery_app import app
from colm.tasks.config.settings import settings

#: Timeout of the remote-control inspection (seconds).
ANSWER_WITHIN = 1.0


class QueueDepth(NamedTuple):
    """A queue as the broker sees it."""

    name: str
    messages: int
    consumers: int


def count_consumers(queue: str) -> int:
    """The number of consumers of `queue`; 0 for a missing queue."""
    return queue_stats([queue])[0].consumers


def queues_with_consumers(queues: Iterable[str]) -> set[str]:
    """The subset of `queues` with at least one consumer."""
    return {stats.name for stats in queue_stats(queues) if stats.consumers}


def queue_stats(queues: Iterable[str]) -> list[QueueDepth]:
    """Ready messages and consumers of each queue; zeros for a missing one.

    Raises TransientError if the broker cannot be reached.
    """
    return _by_amqp(queues) if broker().amqp else _by_remote_control(queues)


def _by_remote_control(queues: Iterable[str]) -> list[QueueDepth]:
    try:
        replies = app.control.inspect(timeout=ANSWER_WITHIN).active_queues() or {}
        read = [queue["name"] for queues in replies.values() for queue in queues]
        with app.connection_for_read() as connection:
            channel: Any = connection.default_channel  # the stubs know the common part only
            return [QueueDepth(q, int(channel._size(q)), read.count(q)) for q in queues]
    except (OperationalError, OSError) as error:
        raise TransientError(f"the embedded broker cannot be reached: {error}") from error


def _by_amqp(queues: Iterable[str]) -> list[QueueDepth]:
    with connected() as connection:
        stats, channel = [], connection.channel()
        for queue in queues:
            if not channel.is_open:  # a missing queue closes the channel
                channel = connection.channel()
            stats.append(_passive(channel, queue))
        return stats


def _passive(channel: BlockingChannel, queue: str) -> QueueDepth:
    try:
        declared = channel.queue_declare(queue, passive=True).method
    except ChannelClosedByBroker as error:
        if error.reply_code != NOT_FOUND:
            raise
        return QueueDepth(queue, 0, 0)
    return QueueDepth(queue, declared.message_count, declared.consumer_count)


@contextlib.contextmanager
def connected() -> Iterator[pika.BlockingConnection]:
    """Context manager of a pika connection to RabbitMQ. Raises TransientError."""
    url = settings().broker_url
    try:
        connection = pika.BlockingConnection(pika_parameters(settings()))
    except (AMQPError, OSError) as error:
        raise TransientError(
            f"RabbitMQ at {display_address(url)} cannot be reached: {describe_error(error, url)}"
        ) from error
    try:
        yield connection
    finally:
        if connection.is_open:
            connection.close()
