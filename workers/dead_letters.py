"""Reads RabbitMQ's dead letters into the record, so that nobody waits for what was given up.

A dead step becomes a failed outcome and the query goes on without it; a dead ask becomes a failed
answer. The letter is acked after that is committed. The embedded broker has no dead letters.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from kombu import Connection, Consumer, Message, Queue
from kombu.mixins import ConsumerMixin

from models.errors import BadMessage, InvalidAsk, UnknownQuery
from models.messages import MAX_REASON_CHARS, Step, StepError, Submission, decode
from models.roster import check_query_id
from tasks.coordination import Coordinator
from tasks.patience import patiently
from tasks.ports import DeadLetter, Record
from tasks.queries import KEPT_BODY, KEPT_ID

logger = logging.getLogger(__name__)

#: Pause after a letter could not be settled (seconds).
PAUSE = 5.0


class DeadLetterReader(ConsumerMixin):
    """Runs in a thread of the coordinator until `close`; reconnects by itself."""

    def __init__(
        self, connection: Connection, queue: Queue, coordinator: Coordinator, record: Record
    ) -> None:
        self.connection = connection
        self._queue = queue
        self._coordinator = coordinator
        self._record = record
        self._thread = threading.Thread(target=self._run, name="dead-letters", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self.should_stop = True
        self._thread.join(timeout=5.0)

    def _run(self) -> None:
        """Read until `close`. A letter that cannot be settled is delivered again after a pause."""
        while not self.should_stop:
            try:
                self.run()
            except Exception:  # the outermost loop: callers wait for what it settles
                logger.exception("dead letters wait")
                time.sleep(PAUSE)

    def get_consumers(
        self,
        consumer: Callable[..., Consumer],
        channel: Any,  # noqa: ARG002  # the mixin calls with it
    ) -> list[Consumer]:
        return [
            consumer(
                queues=[self._queue], on_message=self._on_message, accept=["json"], prefetch_count=8
            )
        ]

    def _on_message(self, message: Message) -> None:
        body = _text(message.body or b"")
        letter = read_letter(message.headers or {}, body, datetime.now(UTC))
        logger.warning("dead letter from %s: %s", letter.queue, letter.reason)
        patiently(lambda: settle(letter, read_step(body), self._coordinator))
        patiently(lambda: self._record.add_dead_letter(letter))
        message.ack()


def read_letter(headers: Mapping[str, Any], body: str, now: datetime) -> DeadLetter:
    """What can be known of a dead message, however broken it is. Never raises for its content."""
    death = _last_death(headers)
    step = read_step(body)
    task = str(headers.get("task", "unknown"))
    message_id = str(headers.get("id") or f"unknown.{now.timestamp()}")[:KEPT_ID]
    return DeadLetter(
        message_id=message_id,
        task=task,
        queue=str(death.get("queue", "unknown")),
        reason=_reason(str(death.get("reason", "unknown"))),
        at=now,
        body=body[:KEPT_BODY],
        query_id=step.query_id if step else _asked_as(task, message_id),
        step_id=step.step_id if step else None,
    )


def settle(letter: DeadLetter, step: Step | None, coordinator: Coordinator) -> None:
    """Let the query of a dead message go on without it, or fail.

    `step` comes from the whole body, of which a letter keeps only the beginning.
    """
    if step is not None:
        error = StepError(kind="dead_lettered", reason=letter.reason[:MAX_REASON_CHARS])
        fields = step.key.model_dump()
        try:
            coordinator.submit(Submission(**fields, worker="dead letters", error=error))
        except UnknownQuery:
            logger.warning("dead step %s belongs to no query", letter.step_id)
    elif letter.task == "colm.ask" and letter.query_id is not None:
        reason = f"the ask was dead-lettered: {letter.reason}"
        coordinator.record.refuse(letter.query_id, "", "unknown", reason, letter.at)
        coordinator.announce.refused(letter.query_id, reason)


def _asked_as(task: str, message_id: str) -> str | None:
    """The query that a dead ask would have become; None where nobody can wait for its id."""
    try:
        check_query_id(message_id)
    except InvalidAsk:
        return None
    return message_id if task == "colm.ask" else None


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


def _text(body: bytes | str) -> str:
    return body.decode("utf-8", "backslashreplace") if isinstance(body, bytes) else str(body)


def _last_death(headers: Mapping[str, Any]) -> Mapping[str, Any]:
    match headers.get("x-death"):
        case [Mapping() as death, *_]:
            return death
        case _:
            return {}


def _reason(code: str) -> str:
    words: Mapping[str, str] = {
        "rejected": "a worker refused it",
        "delivery_limit": "it was delivered too often: a worker died or gave it back every time",
        "maxlen": "its queue was full",
        "expired": "nobody took it in time",
    }
    return f"{code}: {words[code]}" if code in words else code
