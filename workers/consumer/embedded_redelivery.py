"""Redelivery on the embedded broker after a worker was killed.

RabbitMQ notices a dead consumer at once and delivers its messages again. Celery's redis transport
does so only when the visibility timeout has passed, which must be longer than any task: minutes too
late for a draft. A worker that starts therefore takes back what its queues had delivered and nobody
acked. If another process reads the same queue and is still at work on such a message, the message
is done twice, which is harmless: the record knows each step by its key.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection
from typing import Any

from colm.tasks.celery_app import app

logger = logging.getLogger(__name__)


def restore_unacked(queues: Collection[str]) -> int:
    """Put the unacked messages of `queues` back into them; returns how many."""
    with app.connection_for_write() as connection:
        channel: Any = connection.default_channel
        with channel.conn_or_acquire() as client:
            held = client.hgetall(channel.unacked_key)
            mine = [tag for tag, value in held.items() if _queues_of(channel, value) & set(queues)]
            for tag in mine:
                channel.qos.restore_by_tag(tag, client)
    if mine:
        logger.warning("%d messages of a worker that was killed are delivered again", len(mine))
    return len(mine)


def _queues_of(channel: Any, value: bytes) -> set[str]:
    _message, exchange, routing_key = json.loads(value)
    return {str(queue) for queue in channel._lookup(exchange, routing_key)}
