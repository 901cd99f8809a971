"""Rejection of messages: dead letters for unusable ones, failed answers for refused asks."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NoReturn

from celery import Task
from celery.exceptions import Reject

from colm.tasks import dependencies
from colm.tasks.broker.retry import retry_transient

logger = logging.getLogger(__name__)

#: Longest recorded body and id of an unusable message (characters); a stranger may choose both.
KEPT_BODY, KEPT_ID = 20_000, 200


def refuse(
    task: Task[..., Any], reason: str, fields: Mapping[str, Any], message_id: str | None = None
) -> NoReturn:
    """Record an unusable message with its reason and have the broker dead-letter it."""
    from colm.models.dead_letter import DeadLetter

    info = task.request.delivery_info or {}
    letter = DeadLetter(
        message_id=message_id or str(task.request.id)[:KEPT_ID],
        task=str(task.name),
        queue=str(info.get("routing_key")),
        reason=reason,
        at=datetime.now(UTC),
        body=json.dumps(fields, default=repr)[:KEPT_BODY],
    )
    logger.warning("dead letter from %s: %s", letter.queue, reason)
    try:
        retry_transient(lambda: dependencies.record().add_dead_letter(letter))
    except Exception:  # on RabbitMQ the dead-letter reader records it
        logger.exception("letter %s is not recorded", letter.message_id)
    raise Reject(reason, requeue=False)


def record_refusal(query_id: str, reason: str, question: str = "") -> None:
    """Record an ask as refused, for its caller. Never raises.

    Characters that the database cannot store are escaped.
    """
    from colm.models.errors import escaped

    for encode in (str, escaped):
        try:
            now = datetime.now(UTC)
            dependencies.record().refuse(query_id, encode(question), "unknown", encode(reason), now)
        except Exception as error:  # callers are loops that must go on
            logger.exception("the end of ask %s is not recorded: %r", query_id, error)
        else:
            return
