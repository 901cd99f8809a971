"""Settles RabbitMQ's dead letters, so that nobody waits for what was given up.

A dead step becomes a failed outcome and the query goes on without it; a dead ask becomes a failed
answer. The letter is recorded, then moved to `colm.parked`, where `colm dead` finds it: published
there and confirmed before it is acked here. A message that no queue took, because its queue had
been deleted, gets the queue back and is delivered after all. The embedded broker has no dead
letters.
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
from colm.models.errors import (
    ColmError,
    Overloaded,
    TransientError,
)
from colm.models.messages import Step
from colm.tasks.broker.dead_letter_origin import DeadLetterOrigin, parse_x_death
from colm.tasks.broker.rate_limit import dead_letter_bucket
from colm.tasks.broker.retry import retry_transient
from colm.tasks.broker.topology import SUBMISSIONS, Topology
from colm.tasks.celery_app import app
from colm.tasks.interfaces import QueryStore
from colm.workers.consumer.message_validation import validate_message
from colm.workers.consumer.queue_thread import QueueConsumerThread
from colm.workers.consumer.rejection import body_text, read_letter, read_step, resolve
from colm.workers.coordinator.coordinator import Coordinator
from colm.workers.coordinator.parking_lot import HEALED, ParkingLot

logger = logging.getLogger(__name__)


#: How often a letter that can neither be recorded nor parked is read.
TRIES = 3


class DeadLetterReader(QueueConsumerThread):
    """Runs in a thread of the coordinator until `close`; reconnects by itself.

    A letter that can be settled, recorded and parked only in part keeps no other waiting.
    """

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
        #: How often a letter could neither be recorded nor parked, by its id.
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
                # What kombu cannot even unpack is a letter too.
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
        if self._healed(message, exchange, origin):
            message.ack()
            return
        if origin.queue == SUBMISSIONS and not self._letters.try_acquire(str(origin.routing_key)):
            message.ack()  # it has sent too many that were of no use: those before are recorded
            return
        if origin.reason.startswith("rejected"):
            origin = replace(origin, reason=origin.reason + _fault(message, origin))
        body = body_text(message.body or b"")
        letter = read_letter(headers, body, origin, datetime.now(UTC))
        logger.warning("dead letter from %s: %s", letter.queue, letter.reason)
        step = dead_step(body, origin, self._topology)
        self._does(letter, "settled", lambda: resolve(letter, step, self._coordinator))
        kept = (
            self._does(letter, "recorded", lambda: self._record.add_dead_letter(letter)),
            self._does(
                letter, "parked", lambda: self._parking.park(message, letter.message_id, origin)
            ),
        )
        if not any(kept):
            self._tried[letter.message_id] += 1
            if self._tried[letter.message_id] < TRIES:
                raise ColmError(f"letter {letter.message_id} is kept nowhere yet")
            logger.critical("letter %s is lost: %s", letter.message_id, letter)
        self._tried.pop(letter.message_id, None)
        message.ack()

    def _healed(self, message: Message, exchange: str, origin: DeadLetterOrigin) -> bool:
        """Whether its queue had been missing, and it is on its way now."""
        if origin.queue is not None or HEALED in (message.headers or {}):
            return False
        missing = self._topology.queue_for(exchange, str(origin.routing_key))
        try:
            return missing is not None and self._parking.redeliver(missing, message, origin)
        except Overloaded as error:  # it is a letter like any other: the next must not wait for it
            logger.warning("%s", error)
            return False

    def _does(self, letter: DeadLetter, what: str, work: Callable[[], None]) -> bool:
        """Whether `work` came to its end. Raises TransientError, for which it is worth waiting."""
        try:
            retry_transient(work)
        except TransientError:
            raise
        except Exception:  # the rest is done all the same
            logger.exception("letter %s is not %s", letter.message_id, what)
            return False
        return True


def dead_step(body: str, origin: DeadLetterOrigin, topology: Topology) -> Step | None:
    """The step that a letter carried, if it died in that step's own queue, or on the way to it.

    Into the queues of steps only coordinators can write. A participant that submits somebody's step
    in place of a completion must not get that step failed.
    """
    step = read_step(body)
    if step is None:
        return None
    own = topology.for_step(step)
    died = origin.queue == own.name
    unread = origin.queue is None and origin.exchange == own.exchange.name
    return step if died or unread else None


def _fault(message: Message, origin: DeadLetterOrigin) -> str:
    """What the worker that rejected it saw at once, if that was why."""
    as_it_came = Message(
        body=message.body,
        headers=message.headers,
        content_type=message.content_type,
        content_encoding=message.content_encoding,
        delivery_info={"exchange": origin.exchange, "routing_key": origin.routing_key},
        accept={"application/json"},
    )
    found = validate_message(as_it_came, app.tasks)
    return f": {found}" if found else ""
