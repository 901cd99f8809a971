"""Thread that consumes RabbitMQ's dead letters and settles their queries.

A dead step becomes a failed outcome, a dead ask a refused one. The letter is recorded and moved to
`colm.parked`, where `colm dead` reads it; it is acked after the publish is confirmed. An unroutable
message whose queue was deleted gets its queue again and is delivered. The embedded broker has no
dead letters.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from kombu import Connection, Consumer, Message

from colm.models.dead_letter import DeadLetter
from colm.models.errors import ColmError, Overloaded, TransientError
from colm.models.messages import Step
from colm.tasks.broker.dead_letter_origin import DeadLetterOrigin, parse_x_death
from colm.tasks.broker.rate_limit import dead_letter_bucket
from colm.tasks.broker.retry import retry_transient
from colm.tasks.broker.topology import SUBMISSIONS, Topology
from colm.tasks.celery_app import app
from colm.tasks.interfaces import QueryStore
from colm.workers.consumer.dead_message import body_text, read_letter, read_step, resolve
from colm.workers.consumer.message_validation import validate_message
from colm.workers.consumer.queue_thread import QueueConsumerThread
from colm.workers.coordinator.coordinator import Coordinator
from colm.workers.coordinator.parking_lot import HEALED, ParkingLot

logger = logging.getLogger(__name__)

#: Deliveries of a letter that can be neither recorded nor parked.
TRIES = 3


class DeadLetterReader(QueueConsumerThread):
    """Settles, records and parks each letter. If one of the three fails, the others follow."""

    def __init__(
        self,
        connection: Connection,
        topology: Topology,
        coordinator: Coordinator,
        record: QueryStore,
        parking: ParkingLot,
    ) -> None:
        super().__init__(connection, "dead-letters")
        self._topology = topology
        self._coordinator = coordinator
        self._record = record
        self._parking = parking
        self._letters = dead_letter_bucket()
        #: Failed deliveries by letter id.
        self._tried: Counter[str] = Counter()

    def close(self) -> None:
        super().close()
        self._parking.close()

    def get_consumers(
        self,
        consumer: Callable[..., Consumer],
        channel: Any,  # noqa: ARG002  # the mixin calls with it
    ) -> list[Consumer]:
        return [
            consumer(
                queues=[self._topology.dead()],
                on_message=self._on_message,
                # A message that kombu cannot decode is a letter, too.
                on_decode_error=lambda message, _error: self._on_message(message),
                accept=["json"],
                prefetch_count=8,
            )
        ]

    def _on_message(self, message: Message) -> None:
        headers = message.headers or {}
        delivery = message.delivery_info or {}
        exchange = str(delivery.get("exchange", ""))
        origin = parse_x_death(exchange, str(delivery.get("routing_key", "")), headers)
        if self._redelivered(message, exchange, origin):
            message.ack()
            return
        if origin.queue == SUBMISSIONS and not self._letters.try_acquire(str(origin.routing_key)):
            message.ack()  # over the sender's rate limit: its earlier letters are recorded
            return
        if origin.reason.startswith("rejected"):
            origin = replace(origin, reason=origin.reason + _fault(message, origin))
        body = body_text(message.body or b"")
        letter = read_letter(headers, body, origin, datetime.now(UTC))
        logger.warning("dead letter from %s: %s", letter.queue, letter.reason)
        step = dead_step(body, origin, self._topology)
        self._attempt(letter, "settled", lambda: resolve(letter, step, self._coordinator))
        stored = (
            self._attempt(letter, "recorded", lambda: self._record.add_dead_letter(letter)),
            self._attempt(
                letter, "parked", lambda: self._parking.park(message, letter.message_id, origin)
            ),
        )
        if not any(stored):
            self._tried[letter.message_id] += 1
            if self._tried[letter.message_id] < TRIES:
                raise ColmError(f"letter {letter.message_id} is neither recorded nor parked")
            logger.critical("letter %s is lost: %s", letter.message_id, letter)
        self._tried.pop(letter.message_id, None)
        message.ack()

    def _redelivered(self, message: Message, exchange: str, origin: DeadLetterOrigin) -> bool:
        """Declare a missing queue and publish the message again; True if that was the fault."""
        if origin.queue is not None or HEALED in (message.headers or {}):
            return False
        missing = self._topology.queue_for(exchange, str(origin.routing_key))
        try:
            return missing is not None and self._parking.redeliver(missing, message, origin)
        except Overloaded as error:  # then it is settled like any other letter
            logger.warning("%s", error)
            return False

    def _attempt(self, letter: DeadLetter, what: str, work: Callable[[], None]) -> bool:
        """Whether `work` succeeded. Raises TransientError: then the letter is redelivered."""
        try:
            retry_transient(work)
        except TransientError:
            raise
        except Exception:  # the other two are still attempted
            logger.exception("letter %s is not %s", letter.message_id, what)
            return False
        return True


def dead_step(body: str, origin: DeadLetterOrigin, topology: Topology) -> Step | None:
    """The step of a letter that died in that step's own queue, or on the way to it.

    Only coordinators can publish to step queues. A participant that submits another's step instead
    of a completion must not make that step fail.
    """
    step = read_step(body)
    if step is None:
        return None
    own = topology.for_step(step)
    died = origin.queue == own.name
    unroutable = origin.queue is None and origin.exchange == own.exchange.name
    return step if died or unroutable else None


def _fault(message: Message, origin: DeadLetterOrigin) -> str:
    """The validation error for which a worker rejected the message, if that was the reason."""
    original = Message(
        body=message.body,
        headers=message.headers,
        content_type=message.content_type,
        content_encoding=message.content_encoding,
        delivery_info={"exchange": origin.exchange, "routing_key": origin.routing_key},
        accept={"application/json"},
    )
    fault = validate_message(original, app.tasks)
    return f": {fault}" if fault else ""
