"""Settles RabbitMQ's dead letters, so that nobody waits for what was given up.

A dead step becomes a failed outcome and the query goes on without it; a dead ask becomes a failed
answer. The letter is recorded, then moved to `colm.parked`, where `colm dead` finds it: published
there and confirmed before it is acked here. A message that no queue took, because its queue had
been deleted, gets the queue back and is delivered after all. The embedded broker has no dead
letters.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from kombu import Connection, Consumer, Message

from models.errors import (
    BadMessage,
    ColmError,
    InvalidAsk,
    Overloaded,
    TransientError,
    UnknownQuery,
)
from models.messages import MAX_REASON_CHARS, Step, StepError, Submission, decode
from models.reliability import UNSENT
from models.roster import check_query_id
from tasks import runtime
from tasks.celery_app import app
from tasks.coordination import Coordinator
from tasks.limits import letters_allowance
from tasks.origins import Origin, letter_id, origin_of
from tasks.patience import patiently
from tasks.ports import DeadLetter, Record
from tasks.queries import KEPT_BODY
from tasks.settings import settings
from tasks.topology import ASK, DRAFTS, SUBMISSIONS, Topology
from workers.intake import fault_of
from workers.parking import HEALED, Parking
from workers.reader import Reader

logger = logging.getLogger(__name__)

#: How often a letter that can neither be recorded nor parked is read.
TRIES = 3

_letters = letters_allowance()


class DeadLetterReader(Reader):
    """Runs in a thread of the coordinator until `close`; reconnects by itself.

    A letter that can be settled, recorded and parked only in part keeps no other waiting.
    """

    def __init__(
        self,
        connection: Connection,
        topology: Topology,
        coordinator: Coordinator,
        record: Record,
        parking: Parking,
    ) -> None:
        super().__init__(connection, "dead-letters")
        self._topology = topology
        self._coordinator = coordinator
        self._record = record
        self._parking = parking
        self._letters = letters_allowance()
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
        origin = origin_of(exchange, str(delivery.get("routing_key", "")), headers)
        if self._healed(message, exchange, origin):
            message.ack()
            return
        if origin.queue == SUBMISSIONS and not self._letters.take(str(origin.routing_key)):
            message.ack()  # it has sent too many that were of no use: those before are recorded
            return
        if origin.reason.startswith("rejected"):
            origin = replace(origin, reason=origin.reason + _fault(message, origin))
        body = _text(message.body or b"")
        letter = read_letter(headers, body, origin, datetime.now(UTC))
        logger.warning("dead letter from %s: %s", letter.queue, letter.reason)
        step = dead_step(body, origin, self._topology)
        self._does(letter, "settled", lambda: settle(letter, step, self._coordinator))
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

    def _healed(self, message: Message, exchange: str, origin: Origin) -> bool:
        """Whether its queue had been missing, and it is on its way now."""
        if origin.queue is not None or HEALED in (message.headers or {}):
            return False
        missing = self._topology.taking(exchange, str(origin.routing_key))
        try:
            return missing is not None and self._parking.deliver(missing, message, origin)
        except Overloaded as error:  # it is a letter like any other: the next must not wait for it
            logger.warning("%s", error)
            return False

    def _does(self, letter: DeadLetter, what: str, work: Callable[[], None]) -> bool:
        """Whether `work` came to its end. Raises TransientError, for which it is worth waiting."""
        try:
            patiently(work)
        except TransientError:
            raise
        except Exception:  # the rest is done all the same
            logger.exception("letter %s is not %s", letter.message_id, what)
            return False
        return True


def turn_away(message: Message, fault: str, errors: tuple[type[BaseException], ...]) -> None:
    """Reject a message that no task may see.

    RabbitMQ's dead letters are recorded by their reader, who finds the same fault. On the embedded
    broker it would be gone: a coordinator records it here, and refuses an ask, so that nobody waits
    for its answer. It never raises: it is called in the loop that takes all messages.
    """
    headers = message.headers if isinstance(message.headers, Mapping) else {}
    delivery = message.delivery_info or {}
    exchange, key = str(delivery.get("exchange", "")), str(delivery.get("routing_key", ""))
    logger.warning("rejected a message that came by %r as %.100r: %s", exchange, key, fault)
    message.reject_log_error(logger, errors)
    if not (settings().embedded and runtime.has_record()):
        return
    queue = {DRAFTS: SUBMISSIONS, ASK: ASK, "": key}.get(exchange)
    reason = f"rejected: {fault}"
    origin = Origin(reason=reason, exchange=exchange, routing_key=key, queue=queue, at=None)
    letter = read_letter(headers, _text(message.body or b""), origin, datetime.now(UTC))
    try:
        settle(letter, None, runtime.coordinator())
        if _letters.take(key):
            runtime.record().add_dead_letter(letter)
    except Exception:
        logger.exception("letter %s is not recorded", letter.message_id)


def read_letter(headers: Mapping[str, Any], body: str, origin: Origin, now: datetime) -> DeadLetter:
    """What can be known of a dead message, however broken it is. Never raises for its content."""
    step = read_step(body)
    task = str(headers.get("task", "unknown"))
    message_id = letter_id(headers.get("id"), origin.routing_key, origin.queue, now)
    return DeadLetter(
        message_id=message_id,
        task=task,
        queue=origin.queue or f"{origin.exchange or 'unknown'} ({origin.routing_key})",
        reason=origin.reason,
        at=now,
        body=body[:KEPT_BODY],
        query_id=step.query_id if step else _asked_as(task, message_id, origin),
        step_id=step.step_id if step else None,
    )


def dead_step(body: str, origin: Origin, topology: Topology) -> Step | None:
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


def settle(letter: DeadLetter, step: Step | None, coordinator: Coordinator) -> None:
    """Let the query of a dead message go on without it, or fail.

    `step` comes from the whole body, of which a letter keeps only the beginning.
    """
    if step is not None:
        unread = letter.reason.startswith("unroutable")
        kind = UNSENT if unread else "dead_lettered"  # no participant ever had it
        error = StepError(kind=kind, reason=letter.reason[:MAX_REASON_CHARS])
        fields = step.key.model_dump()
        try:
            coordinator.submit(Submission(**fields, worker="dead letters", error=error))
        except UnknownQuery:
            logger.warning("dead step %s belongs to no query", letter.step_id)
    elif letter.task == "colm.ask" and letter.query_id is not None:
        reason = f"the ask was dead-lettered: {letter.reason}"
        coordinator.record.refuse(letter.query_id, "", "unknown", reason, letter.at)
        coordinator.announce.refused(letter.query_id, reason)


def _asked_as(task: str, message_id: str, origin: Origin) -> str | None:
    """The query that a dead ask would have become; None where nobody can wait for its id."""
    if task != "colm.ask" or ASK not in (origin.queue, origin.exchange):
        return None
    try:
        check_query_id(message_id)
    except InvalidAsk:
        return None
    return message_id


def read_step(body: str) -> Step | None:
    """The step in a Celery message body ([args, kwargs, embed]), if it is one."""
    try:
        match json.loads(body):
            case [_, {"step": fields}, *_]:
                return decode(Step, fields, what="the step")
            case _:
                return None
    except (ValueError, RecursionError, BadMessage):
        return None


def _fault(message: Message, origin: Origin) -> str:
    """What the worker that rejected it saw at once, if that was why."""
    as_it_came = Message(
        body=message.body,
        headers=message.headers,
        content_type=message.content_type,
        content_encoding=message.content_encoding,
        delivery_info={"exchange": origin.exchange, "routing_key": origin.routing_key},
        accept={"application/json"},
    )
    found = fault_of(as_it_came, app.tasks)
    return f": {found}" if found else ""


def _text(body: bytes | str) -> str:
    return body.decode("utf-8", "backslashreplace") if isinstance(body, bytes) else str(body)
