"""Dead letters on RabbitMQ, through pika alone: listed, read, published again, dropped.

Two queues hold them: `colm.dead` those that no coordinator has settled yet, `colm.parked` those
that are settled and recorded. This works while Celery, the coordinators and the database are down.
Nothing is taken out of a queue to be looked at: letters are fetched, held until the end, and given
back in their order. What is published again is confirmed by the broker before it is removed, and
keeps its ids, so that whatever it does twice is harmless.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from kombu import Queue
from pika import BasicProperties
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import AMQPError, ChannelClosedByBroker, NackError, UnroutableError

from colm.models.errors import NoConsumer, Overloaded, TransientError
from colm.tasks.broker.dead_letter_origin import (
    KEPT_ID,
    letter_id,
    own_headers,
    parked_id,
    parked_origin,
    parse_x_death,
)
from colm.tasks.broker.publish import NOT_FOUND
from colm.tasks.broker.queue_stats import connected
from colm.tasks.broker.topology import DEAD, PARKED

Verdict = Literal["keep", "replay", "drop"]


@dataclass(frozen=True, kw_only=True)
class DeadMessage:
    """A dead letter as it lies in its queue."""

    queue: str
    letter_id: str
    task: str
    reason: str
    #: Where it was first published; None where that cannot be known.
    exchange: str | None
    routing_key: str | None
    #: When it was given up on, as the broker or the coordinator says.
    at: datetime | None
    body: bytes = field(repr=False)
    properties: BasicProperties = field(repr=False, compare=False)

    @property
    def recorded(self) -> bool:
        """A coordinator has settled and recorded it."""
        return self.queue == PARKED


def process_queue(
    decide: Callable[[DeadMessage], Verdict],
    *,
    queues: Sequence[str] = (PARKED, DEAD),
    limit: int = 1_000,
) -> Iterator[tuple[DeadMessage, Verdict]]:
    """Look at up to `limit` letters of each queue, oldest first, and do to each as `decide` says.

    Letters that are kept stay in their order; one that comes meanwhile may come to stand before
    them. Raises TransientError when the broker is away or refuses, NoConsumer and Overloaded when a
    letter cannot be published again; what was decided before that is done, nothing else changed.
    """
    try:
        with connected() as connection:
            for queue in queues:
                channel = connection.channel()
                channel.confirm_delivery()
                yield from _visit(channel, queue, decide, limit)
                if channel.is_open:
                    channel.close()
    except AMQPError as error:
        raise TransientError(f"RabbitMQ ended the conversation: {error!r}") from error


def _visit(
    channel: BlockingChannel, queue: str, decide: Callable[[DeadMessage], Verdict], limit: int
) -> Iterator[tuple[DeadMessage, Verdict]]:
    kept: list[int] = []
    try:
        # All of them: a queue with a limit of deliveries puts what comes back behind all others.
        for seen in range(_waiting(channel, queue)):
            got = _get(channel, queue)
            if got is None:
                return
            tag, letter = got
            verdict = decide(letter) if seen < limit else "keep"
            if verdict == "replay":
                kept.append(tag)  # until it is confirmed
                republish(channel, letter)
                kept.pop()
            if verdict == "keep":
                kept.append(tag)
            else:
                channel.basic_ack(tag)
            if seen < limit:
                yield letter, verdict
    finally:
        # A channel that the broker has closed gave back what it held, in the order it was held.
        for tag in kept if channel.is_open else ():
            channel.basic_nack(tag, requeue=True)


def _waiting(channel: BlockingChannel, queue: str) -> int:
    """How many letters are in the queue; 0 where there is none, which closes the channel."""
    try:
        return int(channel.queue_declare(queue, passive=True).method.message_count)
    except ChannelClosedByBroker as error:
        if error.reply_code != NOT_FOUND:
            raise
        return 0


def _get(channel: BlockingChannel, queue: str) -> tuple[int, DeadMessage] | None:
    found, properties, body = channel.basic_get(queue, auto_ack=False)
    if found is None:
        return None
    return found.delivery_tag, read(queue, found.exchange, found.routing_key, properties, body)


def read(
    queue: str, exchange: str, routing_key: str, properties: BasicProperties, body: bytes
) -> DeadMessage:
    """A letter as it was fetched. Never raises for what it holds."""
    headers: Mapping[str, Any] = properties.headers or {}
    if queue == PARKED:
        origin, known = parked_origin(headers), parked_id(headers)
    else:
        origin = parse_x_death(exchange, routing_key, headers)
        now = datetime.now(UTC)
        known = letter_id(headers.get("id"), origin.routing_key, origin.queue, now)
    return DeadMessage(
        queue=queue,
        letter_id=known,
        task=str(headers.get("task", "unknown"))[:KEPT_ID],
        reason=origin.reason,
        exchange=origin.exchange,
        routing_key=origin.routing_key,
        at=origin.at,
        body=body,
        properties=properties,
    )


def republish(channel: BlockingChannel, letter: DeadMessage) -> None:
    """Publish a letter where it was first published. Raises NoConsumer, Overloaded."""
    if letter.exchange is None or letter.routing_key is None:
        raise NoConsumer(
            f"letter {letter.letter_id} cannot be replayed: nobody knows where it was published"
        )
    headers = own_headers(letter.properties.headers or {})
    publish_confirmed(
        channel, letter.exchange, letter.routing_key, letter.properties, headers, letter.body
    )


def publish_confirmed(
    channel: BlockingChannel,
    exchange: str,
    routing_key: str,
    properties: BasicProperties,
    headers: Mapping[str, Any],
    body: bytes,
) -> None:
    """Publish, persistent and mandatory, and return when the broker has confirmed it.

    `channel` is in confirm mode. Raises NoConsumer where no queue takes it, Overloaded where that
    queue is full.
    """
    sent = BasicProperties(
        content_type=properties.content_type,
        content_encoding=properties.content_encoding,
        correlation_id=properties.correlation_id,
        reply_to=properties.reply_to,
        headers=dict(headers),
        delivery_mode=2,
    )
    try:
        channel.basic_publish(exchange, routing_key, body, sent, mandatory=True)
    except UnroutableError as error:
        raise NoConsumer(
            f"no queue takes {routing_key!r} on {exchange or 'no exchange'}"
        ) from error
    except NackError as error:
        raise Overloaded(f"the queue for {routing_key!r} on {exchange} is full") from error


def declare_queue(channel: BlockingChannel, queue: Queue) -> None:
    """Declare a queue of the topology, and its binding. Its exchange has to exist."""
    channel.queue_declare(queue.name, durable=True, arguments=queue.queue_arguments)
    if queue.exchange.name:
        channel.queue_bind(queue.name, queue.exchange.name, queue.routing_key)
