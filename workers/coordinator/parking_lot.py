"""Where a dead letter goes once it is settled: to `colm.parked`, or back on its way.

Through a pika connection of its own, opened for the first letter: waiting for a confirm on the
connection that letters come from would deliver the next ones in the middle of this one.
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

#: Marks a message that was given its missing queue back: at most once in its life.
HEALED = ORIGIN + "healed"


class ParkingLot:
    """Publishes letters with confirms. Used by one thread."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._open = ExitStack()
        self._channel: BlockingChannel | None = None

    def park(self, message: Message, letter: str, origin: DeadLetterOrigin) -> None:
        """Put a settled letter into `colm.parked`, confirmed. Raises TransientError."""
        headers = parked_headers(message.headers or {}, letter, origin, datetime.now(UTC))

        def work(channel: BlockingChannel) -> None:
            parked = self._topology.parked()
            lying = channel.queue_declare(
                PARKED, durable=True, arguments=parked.queue_arguments
            ).method.message_count
            publish_confirmed(channel, "", PARKED, _properties(message), headers, _bytes(message))
            if lying >= self._topology.limits.parked_letters:
                logger.warning(
                    "%s is full (%d letters): its oldest letter leaves it, and stays in the record",
                    PARKED, lying,
                )  # fmt: skip

        self._do(work)

    def redeliver(self, queue: Queue, message: Message, origin: DeadLetterOrigin) -> bool:
        """Make the queue that a message found missing, and publish the message again.

        False where that cannot be done. Raises TransientError when the broker is away.
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
            logger.warning("queue %s was missing and cannot be made: %r", queue.name, error)
            return False
        logger.warning("queue %s was missing and is made again: its message goes on", queue.name)
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
                # An idle connection may have been cut long ago; a letter is worth a second try.
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
    told = message.properties or {}
    return BasicProperties(
        content_type=message.content_type,
        content_encoding=message.content_encoding,
        correlation_id=told.get("correlation_id"),
        reply_to=told.get("reply_to"),
    )


def _bytes(message: Message) -> bytes:
    body = message.body or b""
    return body.encode("utf-8", "surrogatepass") if isinstance(body, str) else bytes(body)
