"""A plain Celery worker on a thread pool, started in this process."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any

from amqp.exceptions import ChannelError, IrrecoverableConnectionError
from celery.worker import state
from celery.worker.consumer import Consumer
from kombu import Message, Queue

from models import naming
from tasks.celery_app import app
from tasks.reaching import where, words
from tasks.settings import LogSettings, settings
from workers.dead_letters import turn_away
from workers.intake import fault_of, refuse_compression
from workers.lanes import lanes_of
from workers.plain_worker import PlainWorker
from workers.redelivery import take_back_unacked
from workers.rights import FIRST_PAUSE, LONGEST_PAUSE
from workers.sparing import Sparing

logger = logging.getLogger(__name__)

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s %(threadName)s: %(message)s"


#: After a refusal that comes again, pauses grow to the longest, until there was none for a time
#: (seconds).
FORGOTTEN_AFTER = 60.0
#: How long the events of tasks are gathered before they are sent in one message (seconds).
GATHER_EVENTS = 0.1

_Blueprint: Any = Consumer.Blueprint
#: Celery's steps of a consumer, and what is used instead.
OURS = {
    "celery.worker.consumer.tasks:Tasks": "workers.lanes:LanedTasks",
    "celery.worker.consumer.heart:Heart": "workers.heart:PlainHeart",
}


class PlainConsumer(Consumer):
    """Celery's consumer with a gate, without native delayed delivery; events hold up no task.

    What the gate (`workers.gate`, `workers.intake`) does not let in becomes a dead letter.

    Our schedule is in the record, where it can be seen; without this every worker would declare 28
    queues and bind them to exchanges that a restricted client has no right to.

    Celery publishes events in the loop that takes tasks, up to three times a task, and would wait
    for the confirm of each. Here they leave every GATHER_EVENTS, without confirms: what is told
    for the eye may be lost with a broken connection, what is recorded is not.
    """

    connection_errors: tuple[type[BaseException], ...]
    #: How long to wait after the next refusal, and when the last one was (seconds).
    _pause, _refused_at = FIRST_PAUSE, 0.0

    class Blueprint(_Blueprint):  # type: ignore[misc]  # the stubs hide its class
        """The default steps but one, and others for two."""

        default_steps = tuple(
            OURS.get(step, step)
            for step in _Blueprint.default_steps
            if "delayed_delivery" not in step
        )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if settings().embedded:
            # What kombu's redis transport raises for an ack on a channel whose broker died. The
            # message is delivered again, which is harmless; the worker need not die of it.
            self.connection_errors = (*self.connection_errors, AttributeError)

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
            self._pause = FIRST_PAUSE
        url = settings().broker_url
        logger.warning("RabbitMQ at %s refuses this process: %s", where(url), words(error, url))
        until = now + self._pause
        while time.monotonic() < until:
            state.maybe_shutdown()
            time.sleep(0.1)
        self._pause, self._refused_at = min(2 * self._pause, LONGEST_PAUSE), time.monotonic()

    def register_with_event_loop(self, hub: Any) -> None:
        super().register_with_event_loop(hub)
        hub.timer.call_repeatedly(
            GATHER_EVENTS,
            self._flush_events,  # type: ignore[attr-defined]  # the stubs leave it out
        )

    def create_task_handler(self, *args: Any, **options: Any) -> Callable[[Message], None]:
        handle: Callable[[Message], None] = super().create_task_handler(*args, **options)

        def on_message(message: Message) -> None:
            why = fault_of(message, self.app.tasks)
            if why is None:
                handle(message)
            else:
                turn_away(message, why, self.connection_errors)

        return on_message

    def on_decode_error(self, message: Any, exc: BaseException) -> None:
        """Celery would ack it, and nobody would hear of it again."""
        why = f"it cannot be unpacked ({type(exc).__name__})"
        turn_away(message, why, self.connection_errors)

    def on_send_event_buffered(self) -> None:  # type: ignore[override]  # the stubs return a thing
        """Nothing at once: the timer sends it."""

    def connection_for_write(self, url: str | None = None, heartbeat: float | None = None) -> Any:
        """The connection for events, which are all that a consumer writes."""
        connection = self.app.connection_for_write(
            url=url, heartbeat=heartbeat, transport_options={"confirm_publish": False}
        )
        return self.ensure_connected(connection)


def log_to_stderr() -> None:
    """Set up this process's log: one line an event, times in local time with milliseconds."""
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT)
    for noisy in ("httpx", "httpcore", "amqp", "filelock", "pika", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # Whoever connects tells what failed, in one line; pika would tell it in eight before.
    logging.getLogger("pika").setLevel(logging.CRITICAL)
    for handler in logging.getLogger().handlers:
        handler.addFilter(Sparing())
    # It says that a task came; celery.app.trace says what came of it.
    logging.getLogger("celery.worker.strategy").setLevel(logging.WARNING)
    set_log_levels(settings().log)


def set_log_levels(found: LogSettings) -> None:
    """Set what our own modules log. Celery's line for each task that ended is one for debugging."""
    level = logging.getLevelNamesMapping()[found.level.upper()]
    for ours in ("db", "evaluation", "models", "tasks", "workers"):
        logging.getLogger(ours).setLevel(level)
    of_tasks = logging.INFO if level < logging.INFO else max(level, logging.WARNING)
    logging.getLogger("celery.app.trace").setLevel(of_tasks)


def worker_name(kind: str) -> str:
    """Unique on this host: two workers of one name would read each other's control queue."""
    return naming.worker_name(kind, os.getpid(), socket.gethostname())


def serve(name: str, queues: Sequence[Queue], capacity: int, *, events: bool = True) -> int:
    """Consume `queues` until SIGTERM or Ctrl-C; the exit status. Running tasks are finished first.

    `capacity` tasks run at once, and the share of it that overnight steps may hold beside them.

    Threads, because an engine must not be forked and a coordinator waits more than it computes.
    Gossip and mingle are off: no worker needs to know the others, and a restricted one may not.
    Without `events` nothing is told to Flower.
    """
    names = [queue.name for queue in queues]
    if settings().embedded:
        take_back_unacked(names)
    refuse_compression()
    lanes = lanes_of(names, capacity)
    worker = PlainWorker(
        app=app,
        lanes=lanes,
        within=settings().limits.shutdown,
        hostname=name,
        pool="threads",
        concurrency=lanes.threads,
        queues=names,
        task_events=events,
        without_heartbeat=not events,  # the event, not the connection's sign of life
        without_gossip=True,
        without_mingle=True,
        loglevel="INFO",
        logfile=None,
        quiet=True,
    )
    logger.info(
        "%s reads %s with %d threads from %s",
        name,
        ", ".join(names) if len(names) < 50 else f"{len(names)} queues",
        lanes.threads,
        "the embedded broker" if settings().embedded else "RabbitMQ",
    )
    worker.start()
    return int(worker.exitcode or 0)
