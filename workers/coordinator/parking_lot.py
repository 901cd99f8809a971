"""Publisher of settled dead letters: to `colm.parked`, or back to a queue that was missing.

It has its own pika connection, opened for the first letter: waiting for a confirm on the consuming
connection would deliver the next letters in the middle of this one.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime

from kombu import Message, Queue
from pika import BasicProperties
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import AMQPError, ChannelClosedByBroker

from colm.models.errors import NoConsumer, TransientError
from colm.tasks.broker.dead_letter_origin import ORIGIN, DeadLetterOrigin, parked_headers
from colm.tasks.broker.dead_letter_queue import declare_queue, publish_confirmed
from colm.tasks.broker.queue_stats import connected
from colm.tasks.broker.topology import PARKED, Topology

logger = logging.getLogger(__name__)

#: Header of a message whose missing queue was declared again, which happens once a message.
HEALED = ORIGIN + "healed"


class ParkingLot:
    """Publishes letters with confirms. For one thread."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._open = ExitStack()
        self._channel: BlockingChannel | None = None

    def park(self, message: Message, letter: str, origin: DeadLetterOrigin) -> None:
        """Publish a settled letter to `colm.parked`. Raises TransientError."""
        headers = parked_headers(message.headers or {}, letter, origin, datetime.now(UTC))

        def work(channel: BlockingChannel) -> None:
            parked = self._topology.parked()
            count = channel.queue_declare(
                PARKED, durable=True, arguments=parked.queue_arguments
            ).method.message_count
            publish_confirmed(channel, "", PARKED, _properties(message), headers, _bytes(message))
            if count >= self._topology.limits.parked_letters:
                logger.warning(
                    "%s is full (%d letters): the oldest is dropped, and stays in the record",
                    PARKED, count,
                )  # fmt: skip

        self._do(work)

    def redeliver(self, queue: Queue, message: Message, origin: DeadLetterOrigin) -> bool:
        """Declare the missing queue of a message and publish the message again.

        False if that is impossible. Raises TransientError if the broker is unreachable.
        """
        headers = {**(message.headers or {}), HEALED: "yes"}

        def work(channel: BlockingChannel) -> None:
            declare_queue(channel, queue)
            publish_confirmed(
                channel, str(origin.exchange), str(origin.routing_key), _properties(message),
                headers, _bytes(message),
            )  # fmt: skip

        try:
            self._do(work)
        except (NoConsumer, ChannelClosedByBroker) as error:
            logger.warning("queue %s was missing and cannot be declared: %r", queue.name, error)
            return False
        logger.warning(
            "queue %s was missing and is declared again: its message is delivered", queue.name
        )
        return True

    def close(self) -> None:
        self._channel = None
        with contextlib.suppress(AMQPError):
            self._open.close()

    def _do(self, work: Callable[[BlockingChannel], None]) -> None:
        try:
            try:
                work(self._connected())
            except ChannelClosedByBroker:
                raise
            except AMQPError:
                # The idle connection may have been closed long ago.
                self.close()
                work(self._connected())
        except ChannelClosedByBroker:
            self.close()
            raise
        except AMQPError as error:
            self.close()
            raise TransientError(f"RabbitMQ did not take a dead letter: {error!r}") from error

    def _connected(self) -> BlockingChannel:
        if self._channel is None or not self._channel.is_open:
            self.close()
            self._channel = self._open.enter_context(connected()).channel()
            self._channel.confirm_delivery()
        return self._channel


def _properties(message: Message) -> BasicProperties:
    properties = message.properties or {}
    return BasicProperties(
        content_type=message.content_type,
        content_encoding=message.content_encoding,
        correlation_id=properties.get("correlation_id"),
        reply_to=properties.get("reply_to"),
    )


def _bytes(message: Message) -> bytes:
    body = message.body or b""
    return body.encode("utf-8", "surrogatepass") if isinstance(body, str) else bytes(body)
