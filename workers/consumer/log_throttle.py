"""A log that does not fill a disk: what is said again and again is said now and then.

Only of loggers that tell of a service which is away or refuses: they say it with every attempt.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

#: Whose records are spared.
SPARED = (
    *("celery.worker.consumer", "kombu", "colm.models.backoff", "colm.workers.consumer.worker"),
    *(
        "colm.workers.coordinator.process",
        "colm.workers.coordinator.dispatch_marks",
        "colm.workers.consumer.queue_thread",
        "colm.workers.rabbitmq.permission_probe",
    ),
    *("colm.workers.coordinator.deduplication", "py.warnings"),
)
#: How often one of a kind is said, and how many are said before (seconds; times).
EVERY = 30.0
AT_FIRST = 3


class LogThrottle(logging.Filter):
    """Lets the first few of a kind through, then one every EVERY seconds with how many there were.

    A kind is a logger with a message as it is written in the code, and the type of its exception.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        #: By kind: how many in a row, how many of them unsaid, and when the last was said.
        self._known: dict[tuple[str, str, type | None], tuple[int, int, float]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.name.startswith(SPARED):
            return True
        now = self._clock()
        kind = (record.name, str(record.msg), record.exc_info[0] if record.exc_info else None)
        times, unsaid, said = self._known.get(kind, (0, 0, now))
        if now - said > 2 * EVERY:
            times = 0  # a new trouble
        if times >= AT_FIRST and now - said < EVERY:
            self._known[kind] = (times, unsaid + 1, said)
            return False
        if unsaid:
            record.msg, record.args = f"{record.getMessage()} ({unsaid} more like it)", None
        self._known[kind] = (times + 1, 0, now)
        return True
