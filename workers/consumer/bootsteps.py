"""Celery's consumer with message validation, prefetch by lane, and events that do not block."""

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
from colm.workers.rabbitmq.permission_probe import FIRST_PAUSE, LONGEST_PAUSE

logger = logging.getLogger(__name__)

#: Interval at which buffered task events are sent in one message (seconds).
GATHER_EVENTS = 0.1
#: Time without a refusal after which the back-off starts again (seconds).
FORGOTTEN_AFTER = 60.0

_Blueprint: Any = Consumer.Blueprint

#: Celery's bootsteps and their replacements.
OURS = {
    "celery.worker.consumer.tasks:Tasks": "colm.workers.consumer.bootsteps:LanedTasks",
    "celery.worker.consumer.heart:Heart": (
        "colm.workers.consumer.bootsteps:NonBlockingHeartbeatStep"
    ),
}


class PlainConsumer(Consumer):
    """Celery's consumer, changed in three ways.

    Messages that fail validation become dead letters. Native delayed delivery is off: it declares
    28 queues and binds them to exchanges that a restricted client may not use, and our schedule is
    in the record. Task events are buffered for GATHER_EVENTS and sent without confirms, as Celery
    would wait for up to three confirms a task in the consumer loop; an event may be lost.
    """

    connection_errors: tuple[type[BaseException], ...]
    _refused_at = 0.0

    class Blueprint(_Blueprint):  # type: ignore[misc]  # the stubs hide its class
        """Celery's bootsteps without delayed delivery, with two replaced."""

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
        """Back off after a refusal, as Celery would reconnect at once, for ever.

        A connection limit or a revoked permission may be temporary.
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
        """Dead-letter a message that Celery would ack and drop."""
        why = f"it cannot be unpacked ({type(exc).__name__})"
        reject(message, why, self.connection_errors)

    def on_send_event_buffered(self) -> None:  # type: ignore[override]  # the stubs return a thing
        """Send nothing now: the timer does."""

    def connection_for_write(self, url: str | None = None, heartbeat: float | None = None) -> Any:
        """The connection for events, without confirms. A consumer publishes nothing else."""
        connection = self.app.connection_for_write(
            url=url, heartbeat=heartbeat, transport_options={"confirm_publish": False}
        )
        return self.ensure_connected(connection)


class NonBlockingHeartbeat(heartbeat.Heart):
    """Sends Celery's heartbeat event without retries: a retry can block the consumer for ever.

    After a lost connection kombu reconnects and declares the event exchange on the closed channel,
    which fails like a lost connection again. An event that fails is buffered and sent on the
    consumer's next connection.
    """

    def _send(
        self,
        event: str,
        retry: bool = False,  # noqa: ARG002  # Celery passes it
    ) -> Any:
        return super()._send(event, retry=False)  # type: ignore[misc]  # the stubs leave it out


class NonBlockingHeartbeatStep(heart.Heart):
    """Bootstep that starts a NonBlockingHeartbeat."""

    def start(self, c: Any) -> None:
        interval = self.heartbeat_interval  # type: ignore[attr-defined]  # nor this
        c.heart = NonBlockingHeartbeat(c.timer, c.event_dispatcher, interval)
        c.heart.start()


class LanedTasks(Tasks):
    """Celery's bootstep that starts consuming, with a prefetch count for each queue.

    On RabbitMQ a prefetch count applies to the consumers created after it. The embedded broker has
    one for the whole process: there the overnight queues are skipped while the process holds its
    share of overnight steps.
    """

    def start(self, c: Any) -> None:
        super().start(c)
        lanes: Lanes | None = getattr(c.controller, "lanes", None)
        if lanes is None or not lanes.overnight:
            return
        if c.connection.transport.driver_type == "redis":
            _limit_overnight(c.task_consumer.channel._queue_cycle, lanes)
        else:
            _set_prefetch(c.task_consumer, lanes)


def _set_prefetch(consumer: Any, lanes: Lanes) -> None:
    consume = consumer._basic_consume

    def laned(queue: Any, **options: Any) -> Any:
        consumer.channel.basic_qos(0, lanes.prefetch(queue.name), False)
        return consume(queue, **options)

    consumer._basic_consume = laned


def _limit_overnight(cycle: Any, lanes: Lanes) -> None:
    consume = cycle.consume

    def laned(count: int) -> list[str]:
        queues: list[str] = consume(count)
        if held_overnight() < lanes.overnight_held:
            return queues
        return [queue for queue in queues if not is_overnight(queue)]

    cycle.consume = laned


def held_overnight() -> int:
    """The number of overnight steps that this process holds, running or not."""
    # `copy` is atomic: tasks end in other threads during the iteration.
    reserved: Any = state.reserved_requests  # a WeakSet
    references = reserved.data.copy()
    requests = [request for reference in references if (request := reference()) is not None]
    held = [request.delivery_info.get("routing_key") for request in requests]
    return sum(str(key).startswith(OVERNIGHT) for key in held)
