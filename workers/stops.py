"""Hears in a participant's process that steps are not waited for any more.

On RabbitMQ each participant has a stream, which every process of it reads for itself: a fan-out
that needs no right to declare or bind. On the embedded broker every process hears a fanout
exchange. What is missed costs the generation of a step in vain, nothing more.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from kombu import Connection, Consumer, Message, Queue
from kombu.mixins import ConsumerMixin

from models.errors import BadMessage
from models.messages import decode
from models.stopping import Stop
from tasks.topology import EMBEDDED_STOPS, Topology

logger = logging.getLogger(__name__)

#: Pause after the stream could not be read (seconds).
PAUSE = 5.0
#: How far back a process that starts reads: its queues may hold steps that were stopped by then.
RECENT = timedelta(minutes=15)


class StopReader(ConsumerMixin):
    """Runs in a thread of a participant's process until `close`; reconnects by itself."""

    def __init__(
        self,
        connection: Connection,
        topology: Topology,
        names: Sequence[str],
        stop: Callable[[Stop], int],
        *,
        embedded: bool,
    ) -> None:
        self.connection = connection
        self._topology = topology
        self._names = names
        self._stop = stop
        self._embedded = embedded
        self._deaf = False
        #: Where to go on reading, by stream.
        self._next: dict[str, int | datetime] = dict.fromkeys(
            names, datetime.now(UTC).replace(microsecond=0) - RECENT
        )
        self._thread = threading.Thread(target=self._run, name="stops", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self.should_stop = True
        self._thread.join(timeout=2.0)

    def _run(self) -> None:
        while not self.should_stop:
            try:
                self.run()
            except Exception as error:  # noqa: BLE001 - generating must go on without it
                level = logging.DEBUG if self._deaf else logging.WARNING
                logger.log(level, "what is cancelled is generated to its end: %r", error)
                self._deaf = True
                time.sleep(PAUSE)

    def get_consumers(
        self,
        consumer: Callable[..., Consumer],
        channel: Any,  # noqa: ARG002  # the mixin calls with it
    ) -> list[Consumer]:
        if self._embedded:
            own = Queue(f"colm.stops.{uuid.uuid4().hex}", EMBEDDED_STOPS, auto_delete=True)
            return [consumer(queues=[own], on_message=self._on_message, accept=["json"])]
        self._deaf = False
        return [
            consumer(
                queues=[self._stream(name)],
                on_message=lambda message, name=name: self._on_message(message, name),
                accept=["json"],
                prefetch_count=100,  # a stream insists on one
            )
            for name in self._names
        ]

    def _stream(self, name: str) -> Queue:
        return Queue(
            self._topology.stops(name).name,
            no_declare=True,  # a client has no right to
            consumer_arguments={"x-stream-offset": self._next[name]},
        )

    def _on_message(self, message: Message, name: str | None = None) -> None:
        if name is not None and "x-stream-offset" in (message.headers or {}):
            self._next[name] = int(message.headers["x-stream-offset"]) + 1
        try:
            stop = decode(Stop, message.decode(), what="the stop")
        except (BadMessage, ValueError) as error:
            logger.warning("a stop cannot be used: %s", error)
        else:
            running = self._stop(stop)
            if running:
                logger.info("query %s: %d steps stopped", stop.query_id, running)
        message.ack()
