"""A thread that reads queues beside the Celery worker of its process."""

from __future__ import annotations

import logging
import threading
from typing import Any

from kombu import Connection
from kombu.mixins import ConsumerMixin

logger = logging.getLogger(__name__)

#: Pause before the queues are read again after the broker went or a message could not be settled
#: (seconds).
PAUSE = 2.0


class QueueConsumerThread(ConsumerMixin):
    """Runs from `start` to `close`; reconnects by itself. Heirs say what is read, and do it."""

    def __init__(self, connection: Connection, name: str) -> None:
        self.connection = connection
        self._closed = threading.Event()
        self._deaf = False
        self._thread = threading.Thread(target=self._loop, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self.should_stop = True
        self._closed.set()
        self._thread.join(timeout=2.0)

    def on_consume_ready(self, *_args: Any, **_options: Any) -> None:
        self._deaf = False

    def _loop(self) -> None:
        lost = (*self.connection.connection_errors, *self.connection.channel_errors)
        while not self._closed.is_set():
            try:
                events: Any = self.consume(limit=None)  # type: ignore[func-returns-value]  # the stubs err
                for _ in events:
                    pass
            except lost as error:
                if not self._deaf:  # once, and not again with every attempt
                    logger.warning("%s: not heard for now: %s", self._thread.name, error)
                self._deaf = True
            except Exception:  # the outermost loop: the process goes on, and this with it
                logger.exception("%s: a message waits", self._thread.name)
            self._closed.wait(PAUSE)
