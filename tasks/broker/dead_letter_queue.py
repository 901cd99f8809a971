"""Dead letters on RabbitMQ: list, read, replay and drop, through pika alone.

`colm.dead` holds letters that no coordinator has settled, `colm.parked` the settled and recorded
ones. This works while Celery, the coordinators and the database are down. Letters are fetched,
held unacked, and returned in order. A replayed letter is acked after the broker's confirm and keeps
its ids, so a duplicate is harmless.
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
    """A dead letter in its queue."""

    queue: str
    letter_id: str
    task: str
    reason: str
    #: Where it was first published; None if unknown.
    exchange: str | None
    routing_key: str | None
    #: When it was dead-lettered.
    at: datetime | None
    body: bytes = field(repr=False)
    properties: BasicProperties = field(repr=False, compare=False)

    @property
    def recorded(self) -> bool:
        """Whether a coordinator has settled and recorded it."""
        return self.queue == PARKED


def process_queue(
    decide: Callable[[DeadMessage], Verdict],
    *,
    queues: Sequence[str] = (PARKED, DEAD),
    limit: int = 1_000,
) -> Iterator[tuple[DeadMessage, Verdict]]:
    """Apply `decide` to up to `limit` letters of each queue, oldest first.

    Kept letters stay in order; a letter that arrives meanwhile may precede them. Raises
    TransientError if the broker is away or refuses, NoConsumer and Overloaded if a letter cannot be
    republished. Verdicts before an error are carried out.
    """
    try:
        with connected() as connection:
            for queue in queues:
                channel = connection.channel()
                channel.confirm_delivery()
                yield from _process(channel, queue, decide, limit)
                if channel.is_open:
                    channel.close()
    except AMQPError as error:
        raise TransientError(f"RabbitMQ closed the connection: {error!r}") from error


def _process(
    channel: BlockingChannel, queue: str, decide: Callable[[DeadMessage], Verdict], limit: int
) -> Iterator[tuple[DeadMessage, Verdict]]:
    unacked: list[int] = []
    try:
        # Fetches all: a queue with a delivery limit requeues a returned letter at its end.
        for index in range(_message_count(channel, queue)):
            delivery = _get(channel, queue)
            if delivery is None:
                return
            tag, letter = delivery
            verdict = decide(letter) if index < limit else "keep"
            if verdict == "replay":
                unacked.append(tag)  # until the confirm
                republish(channel, letter)
                unacked.pop()
            if verdict == "keep":
                unacked.append(tag)
            else:
                channel.basic_ack(tag)
            if index < limit:
                yield letter, verdict
    finally:
        # If the broker has closed the channel, it has requeued the letters, in order.
        for tag in unacked if channel.is_open else ():
            channel.basic_nack(tag, requeue=True)


def _message_count(channel: BlockingChannel, queue: str) -> int:
    """The letters in the queue; 0 for a missing queue, which closes the channel."""
    try:
        return int(channel.queue_declare(queue, passive=True).method.message_count)
    except ChannelClosedByBroker as error:
        if error.reply_code != NOT_FOUND:
            raise
        return 0


def _get(channel: BlockingChannel, queue: str) -> tuple[int, DeadMessage] | None:
    got, properties, body = channel.basic_get(queue, auto_ack=False)
    if got is None:
        return None
    return got.delivery_tag, read(queue, got.exchange, got.routing_key, properties, body)


def read(
    queue: str, exchange: str, routing_key: str, properties: BasicProperties, body: bytes
) -> DeadMessage:
    """The letter in a fetched message. Never raises for its content."""
    headers: Mapping[str, Any] = properties.headers or {}
    if queue == PARKED:
        origin, identifier = parked_origin(headers), parked_id(headers)
    else:
        origin = parse_x_death(exchange, routing_key, headers)
        now = datetime.now(UTC)
        identifier = letter_id(headers.get("id"), origin.routing_key, origin.queue, now)
    return DeadMessage(
        queue=queue,
        letter_id=identifier,
        task=str(headers.get("task", "unknown"))[:KEPT_ID],
        reason=origin.reason,
        exchange=origin.exchange,
        routing_key=origin.routing_key,
        at=origin.at,
        body=body,
        properties=properties,
    )


def republish(channel: BlockingChannel, letter: DeadMessage) -> None:
    """Publish a letter to its first exchange and key. Raises NoConsumer, Overloaded."""
    if letter.exchange is None or letter.routing_key is None:
        raise NoConsumer(f"letter {letter.letter_id} cannot be replayed: its exchange is unknown")
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
    """Publish persistent and mandatory, on a channel in confirm mode; returns after the confirm.

    Raises NoConsumer if it is unroutable, Overloaded if its queue is full.
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
    """Declare and bind a queue of the topology. Its exchange has to exist."""
    channel.queue_declare(queue.name, durable=True, arguments=queue.queue_arguments)
    if queue.exchange.name:
        channel.queue_bind(queue.name, queue.exchange.name, queue.routing_key)
