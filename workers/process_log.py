"""Logging of a process to standard error."""

from __future__ import annotations

import logging

from colm.tasks.config.settings import LogSettings, settings
from colm.workers.log_throttle import LogThrottle

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s %(threadName)s: %(message)s"


def log_to_stderr() -> None:
    """Set up this process's log: one line an event, local time with milliseconds."""
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT)
    for noisy in ("httpx", "httpcore", "amqp", "filelock", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # pika logs a failed connection in eight lines; our own log has one.
    logging.getLogger("pika").setLevel(logging.CRITICAL)
    for handler in logging.getLogger().handlers:
        handler.addFilter(LogThrottle())
    # celery.worker.strategy logs the arrival of each task, celery.app.trace its end.
    logging.getLogger("celery.worker.strategy").setLevel(logging.WARNING)
    set_log_levels(settings().log)


def set_log_levels(log: LogSettings) -> None:
    """Set the level of our own modules. Celery's line for each task shows at DEBUG only."""
    level = logging.getLevelNamesMapping()[log.level.upper()]
    logging.getLogger("colm").setLevel(level)
    of_tasks = logging.INFO if level < logging.INFO else max(level, logging.WARNING)
    logging.getLogger("celery.app.trace").setLevel(of_tasks)
