"""Reads `colm.control` in a coordinator, beside the pool of tasks that may be full."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from kombu import Connection, Consumer, Message, Queue
from kombu.mixins import ConsumerMixin

from models.errors import BadMessage
from models.messages import decode
from models.stopping import Cancel
from tasks.coordination import Coordinator
from tasks.patience import patiently

logger = logging.getLogger(__name__)

#: Pause after a message could not be settled (seconds).
PAUSE = 2.0


class ControlReader(ConsumerMixin):
    """Runs in a thread of the coordinator until `close`; reconnects by itself."""

    def __init__(self, connection: Connection, queue: Queue, coordinator: Coordinator) -> None:
        self.connection = connection
        self._queue = queue
        self._coordinator = coordinator
        self._thread = threading.Thread(target=self._run, name="control", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self.should_stop = True
        self._thread.join(timeout=2.0)

    def _run(self) -> None:
        """Read until `close`. What cannot be settled is delivered again after a pause."""
        while not self.should_stop:
            try:
                self.run()
            except Exception:  # the outermost loop: what is to be cancelled waits for it
                logger.exception("control waits")
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
        try:
            cancel = read_cancel(message)
        except BadMessage as error:
            logger.warning("a message in %s cannot be used: %s", self._queue.name, error)
            message.reject()
            return
        patiently(lambda: self._coordinator.cancel(cancel))
        message.ack()


def read_cancel(message: Message) -> Cancel:
    """What `tasks.cancel` sent. Raises BadMessage."""
    try:
        match message.decode():
            case [_, dict() as fields, *_]:
                return decode(Cancel, fields, what="the cancel")
    except (ValueError, RecursionError) as error:
        raise BadMessage(f"it is not JSON: {error}") from error
    raise BadMessage("it is not a task's message")
