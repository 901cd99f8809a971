"""Log filter that rate-limits repeated records, so that an outage does not fill a disk.

It applies to loggers that report an unreachable or refusing service with every attempt.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

#: Prefixes of the rate-limited loggers.
THROTTLED = (
    *("celery.worker.consumer", "kombu", "colm.models.backoff", "colm.workers.consumer.worker"),
    "colm.workers.consumer.bootsteps",
    "colm.workers.consumer.queue_thread",
    "colm.workers.periodic_thread",
    "colm.workers.rabbitmq.permission_probe",
    "py.warnings",
)
#: Interval of a kind of record (seconds), and the number that pass before it applies.
INTERVAL = 30.0
BURST = 3


class LogThrottle(logging.Filter):
    """Passes the first BURST records of a kind, then one each INTERVAL with the number suppressed.

    A kind is a logger, a message template and the type of the exception.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        #: By kind: records in a row, records suppressed, time of the last record that passed.
        self._kinds: dict[tuple[str, str, type | None], tuple[int, int, float]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.name.startswith(THROTTLED):
            return True
        now = self._clock()
        kind = (record.name, str(record.msg), record.exc_info[0] if record.exc_info else None)
        count, suppressed, passed_at = self._kinds.get(kind, (0, 0, now))
        if now - passed_at > 2 * INTERVAL:
            count = 0  # a new outage
        if count >= BURST and now - passed_at < INTERVAL:
            self._kinds[kind] = (count, suppressed + 1, passed_at)
            return False
        if suppressed:
            record.msg, record.args = f"{record.getMessage()} ({suppressed} more like it)", None
        self._kinds[kind] = (count + 1, 0, now)
        return True
