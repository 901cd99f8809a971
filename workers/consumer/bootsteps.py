"""The sign of life that Flower sees, sent once and not insisted on.

Celery sends it with retries, in the loop that takes tasks. When the connection for events is gone,
as after the process was frozen for longer than two heartbeats, kombu connects anew and then
declares the exchange on the channel that is closed; that fails like a lost connection, and so on
without end: the worker never takes a task again. Sent once, what fails is kept and goes out with
the next connection, which the consumer makes as soon as it sees that the old one is gone.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from amqp.exceptions import ChannelError, IrrecoverableConnectionError
from celery.worker import heartbeat, state
from celery.worker.consumer import Consumer, heart
from celery.worker.consumer.tasks import Tasks
from kombu import Message

from colm.models.backoff import Backoff
from colm.tasks.broker.capabilities import broker
from colm.tasks.broker.connection import describe_error, display_address
from colm.tasks.config.settings import settings
from colm.workers.consumer.lanes import OVERNIGHT, Lanes, is_overnight
from colm.workers.consumer.message_validation import validate_message
from colm.workers.consumer.rejection import reject
from colm.workers.consumer.worker import FORGOTTEN_AFTER
from colm.workers.rabbitmq.permission_probe import FIRST_PAUSE, LONGEST_PAUSE

logger = logging.getLogger(__name__)

#: How long the events of tasks are gathered before they are sent in one message (seconds).
GATHER_EVENTS = 0.1


_Blueprint: Any = Consumer.Blueprint


#: Celery's steps of a consumer, and what is used instead.
OURS = {
    "celery.worker.consumer.tasks:Tasks": "colm.workers.consumer.bootsteps:LanedTasks",
    "celery.worker.consumer.heart:Heart": (
        "colm.workers.consumer.bootsteps:NonBlockingHeartbeatStep"
    ),
}


class PlainConsumer(Consumer):
    """Celery's consumer with a gate, without native delayed delivery; events hold up no task.

    What the gate (`colm.workers.consumer.message_validation`,
    `colm.workers.consumer.message_validation`) does not let in becomes a dead letter.

    Our schedule is in the record, where it can be seen; without this every worker would declare 28
    queues and bind them to exchanges that a restricted client has no right to.

    Celery publishes events in the loop that takes tasks, up to three times a task, and would wait
    for the confirm of each. Here they leave every GATHER_EVENTS, without confirms: what is told
    for the eye may be lost with a broken connection, what is recorded is not.
    """

    connection_errors: tuple[type[BaseException], ...]
    _refused_at = 0.0

    class Blueprint(_Blueprint):  # type: ignore[misc]  # the stubs hide its class
        """The default steps but one, and others for two."""

        default_steps = tuple(
            OURS.get(step, step)
            for step in _Blueprint.default_steps
            if "delayed_delivery" not in step
        )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._backoff = Backoff(first=FIRST_PAUSE, longest=LONGEST_PAUSE)
        self.connection_errors = (*self.connection_errors, *broker().connection_errors)

    def on_connection_error_before_connected(self, exc: Exception) -> None:
        super().on_connection_error_before_connected(exc)
        self._wait_out(exc)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        super().on_connection_error_after_connected(exc)
        self._wait_out(exc)

    def _wait_out(self, error: Exception) -> None:
        """Wait after a refusal, which Celery would ask for again at once, and for ever.

        A limit that is reached passes, and so does a right that somebody took away.
        """
        if not isinstance(error, (IrrecoverableConnectionError, ChannelError)):
            return
        now = time.monotonic()
        if now - self._refused_at > FORGOTTEN_AFTER:
            self._backoff.reset()
        url = settings().broker_url
        logger.warning(
            "RabbitMQ at %s refuses this process: %s",
            display_address(url),
            describe_error(error, url),
        )
        until = now + self._backoff.next_pause()
        while time.monotonic() < until:
            state.maybe_shutdown()
            time.sleep(0.1)
        self._refused_at = time.monotonic()

    def register_with_event_loop(self, hub: Any) -> None:
        super().register_with_event_loop(hub)
        hub.timer.call_repeatedly(
            GATHER_EVENTS,
            self._flush_events,  # type: ignore[attr-defined]  # the stubs leave it out
        )

    def create_task_handler(self, *args: Any, **options: Any) -> Callable[[Message], None]:
        handle: Callable[[Message], None] = super().create_task_handler(*args, **options)

        def on_message(message: Message) -> None:
            why = validate_message(message, self.app.tasks)
            if why is None:
                handle(message)
            else:
                reject(message, why, self.connection_errors)

        return on_message

    def on_decode_error(self, message: Any, exc: BaseException) -> None:
        """Celery would ack it, and nobody would hear of it again."""
        why = f"it cannot be unpacked ({type(exc).__name__})"
        reject(message, why, self.connection_errors)

    def on_send_event_buffered(self) -> None:  # type: ignore[override]  # the stubs return a thing
        """Nothing at once: the timer sends it."""

    def connection_for_write(self, url: str | None = None, heartbeat: float | None = None) -> Any:
        """The connection for events, which are all that a consumer writes."""
        connection = self.app.connection_for_write(
            url=url, heartbeat=heartbeat, transport_options={"confirm_publish": False}
        )
        return self.ensure_connected(connection)


class NonBlockingHeartbeat(heartbeat.Heart):
    """Celery's, without retries."""

    def _send(
        self,
        event: str,
        retry: bool = False,  # noqa: ARG002  # Celery passes it
    ) -> Any:
        return super()._send(event, retry=False)  # type: ignore[misc]  # the stubs leave it out


class NonBlockingHeartbeatStep(heart.Heart):
    """The step of a consumer that starts a Beat."""

    def start(self, c: Any) -> None:
        interval = self.heartbeat_interval  # type: ignore[attr-defined]  # nor this
        c.heart = NonBlockingHeartbeat(c.timer, c.event_dispatcher, interval)
        c.heart.start()


class LanedTasks(Tasks):
    """Celery's step that begins to consume, with a prefetch count for each queue.

    On RabbitMQ a prefetch count holds for the consumers that are made after it. The embedded broker
    knows one for the whole process; there an overnight queue is left out of the round while as many
    of its steps are held as may be.
    """

    def start(self, c: Any) -> None:
        super().start(c)
        lanes: Lanes | None = getattr(c.controller, "lanes", None)
        if lanes is None or not lanes.overnight:
            return
        if c.connection.transport.driver_type == "redis":
            _hold_back(c.task_consumer.channel._queue_cycle, lanes)
        else:
            _count_each(c.task_consumer, lanes)


def _count_each(consumer: Any, lanes: Lanes) -> None:
    consume = consumer._basic_consume

    def laned(queue: Any, **options: Any) -> Any:
        consumer.channel.basic_qos(0, lanes.prefetch(queue.name), False)
        return consume(queue, **options)

    consumer._basic_consume = laned


def _hold_back(cycle: Any, lanes: Lanes) -> None:
    consume = cycle.consume

    def laned(count: int) -> list[str]:
        queues: list[str] = consume(count)
        if held_overnight() < lanes.overnight_held:
            return queues
        return [queue for queue in queues if not is_overnight(queue)]

    cycle.consume = laned


def held_overnight() -> int:
    """Overnight steps that this process holds, running or not."""
    # Copied in one step: tasks end in other threads while one by one is looked at.
    reserved: Any = state.reserved_requests  # a WeakSet
    references = reserved.data.copy()
    requests = [request for reference in references if (request := reference()) is not None]
    held = [request.delivery_info.get("routing_key") for request in requests]
    return sum(str(key).startswith(OVERNIGHT) for key in held)
