"""Rejection of invalid messages."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime

from kombu import Message

from colm.tasks import dependencies
from colm.tasks.broker.capabilities import broker
from colm.tasks.broker.dead_letter_origin import DeadLetterOrigin
from colm.tasks.broker.rate_limit import dead_letter_bucket
from colm.tasks.broker.topology import ASK, DRAFTS, SUBMISSIONS
from colm.workers.consumer.dead_message import body_text, read_letter, resolve

logger = logging.getLogger(__name__)

_letters = dead_letter_bucket()


def reject(message: Message, fault: str, errors: tuple[type[BaseException], ...]) -> None:
    """Reject a message that failed validation. Never raises, as the consumer loop calls it.

    RabbitMQ dead-letters the message, and DeadLetterReader records it. The embedded broker would
    drop it: there a coordinator records the letter here and settles its query.
    """
    headers = message.headers if isinstance(message.headers, Mapping) else {}
    delivery = message.delivery_info or {}
    exchange, key = str(delivery.get("exchange", "")), str(delivery.get("routing_key", ""))
    logger.warning("rejected a message from exchange %r, key %.100r: %s", exchange, key, fault)
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
