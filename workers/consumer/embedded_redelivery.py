"""Redelivery on the embedded broker after a worker was killed.

Celery's redis transport redelivers only after the visibility timeout, which must exceed the longest
task: minutes too late for a draft. A worker that starts therefore restores the unacked messages of
its queues. If another process still works on one, the message is processed twice, which is harmless
as the record is idempotent.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection
from typing import Any

from colm.tasks.celery_app import app

logger = logging.getLogger(__name__)


def restore_unacked(queues: Collection[str]) -> int:
    """Return the unacked messages of `queues` to them; their number."""
    with app.connection_for_write() as connection:
        channel: Any = connection.default_channel
        with channel.conn_or_acquire() as client:
            held = client.hgetall(channel.unacked_key)
            mine = [tag for tag, value in held.items() if _queues_of(channel, value) & set(queues)]
            for tag in mine:
                channel.qos.restore_by_tag(tag, client)
    if mine:
        logger.warning("redelivering %d messages of a worker that was killed", len(mine))
    return len(mine)


def _queues_of(channel: Any, value: bytes) -> set[str]:
    _message, exchange, routing_key = json.loads(value)
    return {str(queue) for queue in channel._lookup(exchange, routing_key)}
