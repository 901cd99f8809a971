"""A plain Celery worker on a thread pool, started in this process."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Sequence
from typing import Any

from celery.worker.consumer import Consumer
from kombu import Queue

from tasks.celery_app import app
from tasks.settings import settings
from workers.redelivery import take_back_unacked

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s %(threadName)s: %(message)s"


#: How long the events of tasks are gathered before they are sent in one message (seconds).
GATHER_EVENTS = 0.1

_Blueprint: Any = Consumer.Blueprint


class PlainConsumer(Consumer):
    """Celery's consumer without native delayed delivery, and with events that hold up no task.

    Our schedule is in the record, where it can be seen; without this every worker would declare 28
    queues and bind them to exchanges that a restricted client has no right to.

    Celery publishes events in the loop that takes tasks, up to three times a task, and would wait
    for the confirm of each. Here they leave every GATHER_EVENTS, without confirms: what is told
    for the eye may be lost with a broken connection, what is recorded is not.
    """

    connection_errors: tuple[type[BaseException], ...]

    class Blueprint(_Blueprint):  # type: ignore[misc]  # the stubs hide its class
        """The default steps but one."""

        default_steps = tuple(
            step for step in _Blueprint.default_steps if "delayed_delivery" not in step
        )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if settings().embedded:
            # What kombu's redis transport raises for an ack on a channel whose broker died. The
            # message is delivered again, which is harmless; the worker need not die of it.
            self.connection_errors = (*self.connection_errors, AttributeError)

    def register_with_event_loop(self, hub: Any) -> None:
        super().register_with_event_loop(hub)
        hub.timer.call_repeatedly(
            GATHER_EVENTS,
            self._flush_events,  # type: ignore[attr-defined]  # the stubs leave it out
        )

    def on_send_event_buffered(self) -> None:  # type: ignore[override]  # the stubs return a thing
        """Nothing at once: the timer sends it."""

    def connection_for_write(self, url: str | None = None, heartbeat: float | None = None) -> Any:
        """The connection for events, which are all that a consumer writes."""
        connection = self.app.connection_for_write(
            url=url, heartbeat=heartbeat, transport_options={"confirm_publish": False}
        )
        return self.ensure_connected(connection)


def log_to_stderr(level: int = logging.INFO) -> None:
    """Set up this process's log: one line an event, times in local time with milliseconds."""
    logging.basicConfig(level=level, format=LOG_FORMAT)
    for noisy in ("httpx", "httpcore", "amqp", "filelock", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # It says that a task came; celery.app.trace says what came of it.
    logging.getLogger("celery.worker.strategy").setLevel(logging.WARNING)


def worker_name(kind: str) -> str:
    """Unique on this host: two workers of one name would read each other's control queue."""
    return f"{kind}.{os.getpid()}@{socket.gethostname()}"


def serve(name: str, queues: Sequence[Queue], threads: int, *, events: bool = True) -> int:
    """Consume `queues` until SIGTERM or Ctrl-C; the exit status. Running tasks are finished first.

    Threads, because an engine must not be forked and a coordinator waits more than it computes.
    Gossip and mingle are off: no worker needs to know the others, and a restricted one may not.
    Without `events` nothing is told to Flower.
    """
    names = [queue.name for queue in queues]
    if settings().embedded:
        take_back_unacked(names)
    worker = app.Worker(
        hostname=name,
        pool="threads",
        concurrency=threads,
        queues=names,
        task_events=events,
        without_heartbeat=not events,  # the event, not the connection's sign of life
        without_gossip=True,
        without_mingle=True,
        loglevel="INFO",
        logfile=None,
        quiet=True,
    )
    logging.getLogger(__name__).info(
        "%s reads %s with %d threads from %s",
        name,
        ", ".join(names),
        threads,
        "the embedded broker" if settings().embedded else "RabbitMQ",
    )
    worker.start()
    return int(worker.exitcode or 0)
