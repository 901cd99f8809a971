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


#: How much of an unusable message is kept for the operator (characters).
KEPT_BODY = 20_000


#: How much of a message's id, which a stranger may have made (characters).
KEPT_ID = 200


def refuse(
    task: Task[..., Any],
    reason: str,
    fields: Mapping[str, Any],
    message_id: str | None = None,
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
    except Exception:  # on RabbitMQ the reader of the dead letters tries it again
        logger.exception("letter %s is not recorded", letter.message_id)
    raise Reject(reason, requeue=False)


def end_refused(query_id: str, reason: str, question: str = "") -> None:
    """End an ask that never became a query, so that its caller hears why. Never raises.

    What the record cannot hold is escaped.
    """
    from colm.models.errors import escaped

    for told in (str, escaped):
        try:
            now = datetime.now(UTC)
            dependencies.record().refuse(query_id, told(question), "unknown", told(reason), now)
        except Exception as error:  # the caller's last word, in loops that must go on
            logger.exception("the end of ask %s is not recorded: %r", query_id, error)
        else:
            return
