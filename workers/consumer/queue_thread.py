"""Thread that consumes queues beside the Celery worker of its process."""

from __future__ import annotations

import logging
from typing import Any

from kombu import Connection
from kombu.mixins import ConsumerMixin

from colm.workers.periodic_thread import PeriodicThread

logger = logging.getLogger(__name__)

#: Pause before the queues are consumed again after a lost connection or a failed message (seconds).
PAUSE = 2.0


class QueueConsumerThread(ConsumerMixin):
    """Consumes from `start` to `close`, reconnecting. Subclasses define the consumers.

    A message whose handler raises is not acked: the broker redelivers it.
    """

    def __init__(self, connection: Connection, name: str) -> None:
        self.connection = connection
        self._disconnected = False
        self._thread = PeriodicThread(name, PAUSE, self._consume, immediately=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self.should_stop = True
        self._thread.close(timeout=2.0)

    def on_consume_ready(self, *_args: Any, **_options: Any) -> None:
        self._disconnected = False

    def _consume(self) -> None:
        lost = (*self.connection.connection_errors, *self.connection.channel_errors)
        try:
            events: Any = self.consume(limit=None)  # type: ignore[func-returns-value]  # the stubs err
            for _ in events:
                pass
        except lost as error:
            if not self._disconnected:  # logged once an outage
                logger.warning("%s: connection lost, reconnecting: %s", self._thread.name, error)
            self._disconnected = True
