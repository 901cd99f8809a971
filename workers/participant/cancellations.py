"""Hears in a participant's process that steps are not waited for any more.

On RabbitMQ each participant has a stream, which every process of it reads for itself: a fan-out
that needs no right to declare or bind. On the embedded broker every process hears a fanout
exchange. What is missed costs the generation of a step in vain, nothing more.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from kombu import Connection, Consumer, Message, Queue
from kombu.exceptions import KombuError

from colm.models.cancellation import CancelSteps
from colm.models.errors import BadMessage
from colm.models.messages import decode
from colm.tasks.broker.topology import CANCELLATIONS_FANOUT, STEP_CANCELLATIONS, Topology
from colm.workers.consumer.queue_thread import QueueConsumerThread

logger = logging.getLogger(__name__)

#: How far back a process that starts reads: its queues may hold steps that were stopped by then.
RECENT = timedelta(minutes=15)


class StepCancellationConsumer(QueueConsumerThread):
    """Runs in a thread of a participant's process. `declare` says whether this user may."""

    def __init__(
        self,
        connection: Connection,
        topology: Topology,
        names: Sequence[str],
        stop: Callable[[CancelSteps], int],
        *,
        streams: bool,
        declare: bool,
    ) -> None:
        super().__init__(connection, "stops")
        self._topology = topology
        self._names = names
        self._stop = stop
        self._streams = streams
        self._declare = declare
        #: Where to go on reading, by stream.
        self._next: dict[str, int | datetime] = dict.fromkeys(
            names, datetime.now(UTC).replace(microsecond=0) - RECENT
        )

    def get_consumers(
        self,
        consumer: Callable[..., Consumer],
        channel: Any,  # noqa: ARG002  # the mixin calls with it
    ) -> list[Consumer]:
        if not self._streams:
            name = f"{STEP_CANCELLATIONS}.{uuid.uuid4().hex}"
            own = Queue(name, CANCELLATIONS_FANOUT, auto_delete=True)
            return [consumer(queues=[own], on_message=self._on_message, accept=["json"])]
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
        stream = self._topology.step_cancellations(name)
        return Queue(
            stream.name,
            stream.exchange,
            routing_key=stream.routing_key,
            queue_arguments=stream.queue_arguments,
            consumer_arguments={"x-stream-offset": self._next[name]},
            no_declare=not self._declare,
        )

    def _on_message(self, message: Message, name: str | None = None) -> None:
        if name is not None and "x-stream-offset" in (message.headers or {}):
            self._next[name] = int(message.headers["x-stream-offset"]) + 1
        try:
            stop = decode(CancelSteps, message.decode(), what="the stop")
        except (BadMessage, KombuError, ValueError, RecursionError) as error:
            logger.warning("a stop cannot be used: %s", error)
        else:
            running = self._stop(stop)
            if running:
                logger.debug("query %s: %d steps stopped", stop.query_id, running)
        message.ack()
