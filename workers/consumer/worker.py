"""A plain Celery worker on a thread pool, started in this process."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Sequence
from types import FrameType
from typing import Any

from celery.apps.worker import Worker
from celery.worker import state
from kombu import Queue

from colm.models import naming
from colm.tasks.broker.capabilities import broker
from colm.tasks.celery_app import app
from colm.tasks.config.settings import LogSettings, settings
from colm.workers.consumer.embedded_redelivery import restore_unacked
from colm.workers.consumer.lanes import Lanes, lanes_of
from colm.workers.consumer.log_throttle import LogThrottle
from colm.workers.consumer.message_validation import disable_decompression

logger = logging.getLogger(__name__)


LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s %(threadName)s: %(message)s"


#: After a refusal that comes again, pauses grow to the longest, until there was none for a time
#: (seconds).
FORGOTTEN_AFTER = 60.0


def log_to_stderr() -> None:
    """Set up this process's log: one line an event, times in local time with milliseconds."""
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT)
    for noisy in ("httpx", "httpcore", "amqp", "filelock", "pika", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # Whoever connects tells what failed, in one line; pika would tell it in eight before.
    logging.getLogger("pika").setLevel(logging.CRITICAL)
    for handler in logging.getLogger().handlers:
        handler.addFilter(LogThrottle())
    # It says that a task came; celery.app.trace says what came of it.
    logging.getLogger("celery.worker.strategy").setLevel(logging.WARNING)
    set_log_levels(settings().log)


def set_log_levels(found: LogSettings) -> None:
    """Set what our own modules log. Celery's line for each task that ended is one for debugging."""
    level = logging.getLevelNamesMapping()[found.level.upper()]
    logging.getLogger("colm").setLevel(level)
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
    if not broker().redelivers_unacked:
        restore_unacked(names)
    disable_decompression()
    lanes = lanes_of(names, capacity)
    worker = PlainWorker(
        app=app,
        lanes=lanes,
        within=settings().limits.shutdown_grace,
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
        broker().name,
    )
    worker.start()
    return int(worker.exitcode or 0)


logger = logging.getLogger(__name__)


#: How long the connection may take to close before the process ends without it (seconds).
CLOSE_WITHIN = 3.0


class PlainWorker(Worker):
    """Celery's worker with our signals; `within` is how long it may take to finish (seconds)."""

    def __init__(self, *args: Any, lanes: Lanes | None, within: float, **options: Any) -> None:
        self.lanes = lanes
        self._within = within
        self._hurry = threading.Event()
        self._asked = False
        super().__init__(*args, **options)

    def install_platform_tweaks(self, worker: Any) -> None:  # noqa: ARG002  # Celery calls with it
        """Our signal handlers in the place of Celery's."""
        for sign in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            signal.signal(sign, self._on_signal)

    def _on_signal(self, _sign: int, _frame: FrameType | None) -> None:
        # In the middle of anything: another thread does what takes a lock.
        if self._asked:
            self._hurry.set()
            return
        self._asked = True
        state.should_stop = os.EX_OK  # type: ignore[assignment]  # the stubs know None only
        threading.Thread(target=self._see_to_the_end, name="shutdown", daemon=True).start()

    def _see_to_the_end(self) -> None:
        logger.info("asked to stop: finishing what runs, within %g s", self._within)
        self._hurry.wait(self._within)
        running = len(state.active_requests)
        logger.warning("ending now; %d tasks are handed back", running)
        closing = threading.Thread(target=self._close_connection, daemon=True)
        closing.start()
        closing.join(CLOSE_WITHIN)
        logging.shutdown()
        os._exit(os.EX_OK)

    def _close_connection(self) -> None:
        """The embedded broker has to be told what comes back; RabbitMQ sees the connection end."""
        connection = getattr(getattr(self, "consumer", None), "connection", None)
        if connection is not None:
            connection.close()
