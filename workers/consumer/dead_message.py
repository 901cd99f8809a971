"""Dead messages: the letter that is recorded of one, and what follows for its query."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from colm.models.client_reliability import UNSENT
from colm.models.dead_letter import DeadLetter
from colm.models.errors import BadMessage, InvalidAsk, UnknownQuery
from colm.models.messages import MAX_REASON_CHARS, Step, StepError, Submission, decode
from colm.models.roster import check_query_id
from colm.tasks.broker.dead_letter_origin import DeadLetterOrigin, letter_id
from colm.tasks.broker.topology import ASK
from colm.tasks.interfaces import Coordinator
from colm.tasks.rejection import KEPT_BODY

logger = logging.getLogger(__name__)


def resolve(letter: DeadLetter, step: Step | None, coordinator: Coordinator) -> None:
    """Fail the step of a dead message, or the query of a dead ask.

    `step` comes from the whole body; a letter keeps only its beginning.
    """
    if step is not None:
        unroutable = letter.reason.startswith("unroutable")  # no participant ever had it
        kind = UNSENT if unroutable else "dead_lettered"
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
    """The letter of a dead message. Never raises for its content."""
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
        query_id=step.query_id if step else _asked_query(task, message_id, origin),
        step_id=step.step_id if step else None,
    )


def _asked_query(task: str, message_id: str, origin: DeadLetterOrigin) -> str | None:
    """The query id of a dead ask; None if the id is invalid."""
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
