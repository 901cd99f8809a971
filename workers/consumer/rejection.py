"""Rejection of messages before a task sees them."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from kombu import Message

from colm.models.client_reliability import UNSENT
from colm.models.dead_letter import DeadLetter
from colm.models.errors import (
    BadMessage,
    InvalidAsk,
    UnknownQuery,
)
from colm.models.messages import MAX_REASON_CHARS, Step, StepError, Submission, decode
from colm.models.roster import check_query_id
from colm.tasks import dependencies
from colm.tasks.broker.capabilities import broker
from colm.tasks.broker.dead_letter_origin import DeadLetterOrigin, letter_id
from colm.tasks.broker.rate_limit import dead_letter_bucket
from colm.tasks.broker.topology import ASK, DRAFTS, SUBMISSIONS
from colm.tasks.interfaces import Coordinator
from colm.tasks.rejection import KEPT_BODY

logger = logging.getLogger(__name__)

_letters = dead_letter_bucket()


def reject(message: Message, fault: str, errors: tuple[type[BaseException], ...]) -> None:
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
    if broker().dead_letters or not dependencies.has_record():
        return
    queue = {DRAFTS: SUBMISSIONS, ASK: ASK, "": key}.get(exchange)
    reason = f"rejected: {fault}"
    origin = DeadLetterOrigin(
        reason=reason, exchange=exchange, routing_key=key, queue=queue, at=None
    )
    letter = read_letter(headers, body_text(message.body or b""), origin, datetime.now(UTC))
    try:
        resolve(letter, None, dependencies.coordinator())
        if _letters.try_acquire(key):
            dependencies.record().add_dead_letter(letter)
    except Exception:
        logger.exception("letter %s is not recorded", letter.message_id)


def resolve(letter: DeadLetter, step: Step | None, coordinator: Coordinator) -> None:
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


def read_letter(
    headers: Mapping[str, Any], body: str, origin: DeadLetterOrigin, now: datetime
) -> DeadLetter:
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


def _asked_as(task: str, message_id: str, origin: DeadLetterOrigin) -> str | None:
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


def body_text(body: bytes | str) -> str:
    return body.decode("utf-8", "backslashreplace") if isinstance(body, bytes) else str(body)
