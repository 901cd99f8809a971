"""Reads `colm.control` in a coordinator, beside the pool of tasks that may be full."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from kombu import Connection, Consumer, Message, Queue
from kombu.exceptions import KombuError

from colm.models.cancellation import Cancel
from colm.models.errors import BadMessage, TransientError
from colm.models.messages import decode
from colm.tasks.broker.retry import retry_transient
from colm.tasks.cancellation import cancel_or_refuse
from colm.workers.consumer.queue_thread import QueueConsumerThread
from colm.workers.coordinator.coordinator import Coordinator

logger = logging.getLogger(__name__)


class ControlReader(QueueConsumerThread):
    """Runs in a thread of the coordinator. What cannot be settled is delivered again."""

    def __init__(self, connection: Connection, queue: Queue, coordinator: Coordinator) -> None:
        super().__init__(connection, "control")
        self._queue = queue
        self._coordinator = coordinator

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
        try:
            cancel = read_cancel(message)
        except BadMessage as error:
            logger.warning("a message in %s cannot be used: %s", self._queue.name, error)
            message.reject()
            return
        try:
            retry_transient(lambda: cancel_or_refuse(self._coordinator, cancel))
        except TransientError:
            raise
        except Exception:  # it must not keep others from being heard
            logger.exception("query %s cannot be cancelled", cancel.query_id)
            message.reject()
            return
        message.ack()


def read_cancel(message: Message) -> Cancel:
    """What `tasks.cancel` sent. Raises BadMessage."""
    try:
        match message.decode():
            case [_, dict() as fields, *_]:
                return decode(Cancel, fields, what="the cancel")
    except (KombuError, ValueError, RecursionError) as error:
        raise BadMessage(f"it is not JSON: {error}") from error
    raise BadMessage("it is not a task's message")
