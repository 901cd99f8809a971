"""A plain Celery worker on a thread pool, started in this process."""

from __future__ import annotations

import logging
import socket
from collections.abc import Sequence
from typing import Any

from celery.worker.consumer import Consumer
from kombu import Queue

from tasks.celery_app import app
from tasks.settings import settings
from workers.redelivery import take_back_unacked

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s %(threadName)s: %(message)s"


_Blueprint: Any = Consumer.Blueprint


class PlainConsumer(Consumer):
    """Celery's consumer without native delayed delivery.

    Our schedule is in the record, where it can be seen; without this every worker would declare 28
    queues and bind them to exchanges that a restricted client has no right to.
    """

    class Blueprint(_Blueprint):  # type: ignore[misc]  # the stubs hide its class
        """The default steps but one."""

        default_steps = tuple(
            step for step in _Blueprint.default_steps if "delayed_delivery" not in step
        )


def log_to_stderr(level: int = logging.INFO) -> None:
    """Set up this process's log: one line an event, times in local time with milliseconds."""
    logging.basicConfig(level=level, format=LOG_FORMAT)
    for noisy in ("httpx", "httpcore", "amqp", "filelock", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def worker_name(kind: str) -> str:
    return f"{kind}@{socket.gethostname()}"


def serve(name: str, queues: Sequence[Queue], threads: int) -> int:
    """Consume `queues` until SIGTERM or Ctrl-C; the exit status. Running tasks are finished first.

    Threads, because an engine must not be forked and a coordinator waits more than it computes.
    Gossip and mingle are off: no worker needs to know the others, and a restricted one may not.
    """
    names = [queue.name for queue in queues]
    if settings().embedded:
        take_back_unacked(names)
    worker = app.Worker(
        hostname=name,
        pool="threads",
        concurrency=threads,
        queues=names,
        task_events=True,
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
