"""A Celery worker on a thread pool, run in this process."""

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
from colm.tasks.config.settings import settings
from colm.workers.consumer.embedded_redelivery import restore_unacked
from colm.workers.consumer.lanes import Lanes, lanes_of
from colm.workers.consumer.message_validation import disable_decompression

logger = logging.getLogger(__name__)

#: Time for the connection to close before the process ends (seconds).
CLOSE_TIMEOUT = 3.0


def worker_name(kind: str) -> str:
    """A name that is unique on this host: workers of one name would share a control queue."""
    return naming.worker_name(kind, os.getpid(), socket.gethostname())


def serve(name: str, queues: Sequence[Queue], capacity: int, *, events: bool = True) -> int:
    """Consume `queues` until SIGTERM or Ctrl-C, finish the running tasks; the exit status.

    `capacity` tasks run at once, plus the overnight steps that `Lanes` allows. The pool uses
    threads, as an engine must not be forked. Gossip and mingle are off, as a restricted user may
    not use them. Without `events` Flower does not show the tasks.
    """
    names = [queue.name for queue in queues]
    if not broker().redelivers_unacked:
        restore_unacked(names)
    disable_decompression()
    lanes = lanes_of(names, capacity)
    worker = PlainWorker(
        app=app,
        lanes=lanes,
        grace=settings().limits.shutdown_grace,
        hostname=name,
        pool="threads",
        concurrency=lanes.threads,
        queues=names,
        task_events=events,
        without_heartbeat=not events,  # the event, not AMQP's heartbeat
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


class PlainWorker(Worker):
    """Celery's worker with a bounded shutdown: `grace` seconds to finish the running tasks."""

    def __init__(self, *args: Any, lanes: Lanes | None, grace: float, **options: Any) -> None:
        self.lanes = lanes
        self._grace = grace
        self._second_signal = threading.Event()
        self._stopping = False
        super().__init__(*args, **options)

    def install_platform_tweaks(self, worker: Any) -> None:  # noqa: ARG002  # Celery calls with it
        """Install our signal handlers instead of Celery's."""
        for sign in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            signal.signal(sign, self._on_signal)

    def _on_signal(self, _sign: int, _frame: FrameType | None) -> None:
        # A handler must take no lock: a thread does the rest.
        if self._stopping:
            self._second_signal.set()
            return
        self._stopping = True
        state.should_stop = os.EX_OK  # type: ignore[assignment]  # the stubs know None only
        threading.Thread(target=self._force_end, name="shutdown", daemon=True).start()

    def _force_end(self) -> None:
        """End the process after the grace period, or at a second signal."""
        logger.info("stopping: running tasks have %g s to finish", self._grace)
        self._second_signal.wait(self._grace)
        running = len(state.active_requests)
        logger.warning("ending now; %d tasks are handed back", running)
        closing = threading.Thread(target=self._close_connection, daemon=True)
        closing.start()
        closing.join(CLOSE_TIMEOUT)
        logging.shutdown()
        os._exit(os.EX_OK)

    def _close_connection(self) -> None:
        """Return unacked messages, as the embedded broker does not notice the lost connection."""
        connection = getattr(getattr(self, "consumer", None), "connection", None)
        if connection is not None:
            connection.close()
