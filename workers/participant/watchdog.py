"""Thread that ends a process whose engine hangs: a thread blocked in a device cannot be freed.

The engine counts its progress. If the count stays the same for the limit while a request is in
hand, the process ends without acks: the broker redelivers its steps, and the service manager
restarts it.

A process that was suspended itself (SIGSTOP, a suspended machine) says nothing about its engine:
the engine gets the whole limit again.
"""

from __future__ import annotations

import faulthandler
import logging
import time
from collections.abc import Callable

from colm.workers.periodic_thread import PeriodicThread

logger = logging.getLogger(__name__)

#: Factor on the limit before the first progress, as an engine may compile and warm up.
FIRST = 5.0
#: Polls in each limit's length.
POLLS = 10
#: A poll that is this many poll intervals late means that the whole process was suspended.
SUSPENDED = 5


class Watchdog:
    """Polls the engine from `start` to `close`. Times are seconds of one monotonic clock."""

    def __init__(
        self,
        progress: Callable[[], int],
        waiting_since: Callable[[], float | None],
        limit: float,
        end_process: Callable[[], None],
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`waiting_since` is the time at which the engine got its oldest request, if it has one."""
        self._progress = progress
        self._waiting_since = waiting_since
        self._limit = limit
        self._end_process = end_process
        self._monotonic = monotonic
        self._last = progress()
        self._moved: float | None = None
        self._polled: float | None = None
        self._resumed: float | None = None
        self._thread = PeriodicThread("watchdog", limit / POLLS, self._poll)

    def start(self) -> None:
        self._polled = self._monotonic()
        self._thread.start()

    def close(self) -> None:
        self._thread.close(timeout=2.0)

    def stalled_for(self, now: float) -> float | None:
        """Seconds without progress, if they exceed the limit."""
        progress = self._progress()
        if progress != self._last:
            self._last, self._moved = progress, now
        since = self._waiting_since()
        if since is None:
            return None
        limit = self._limit if self._moved is not None else FIRST * self._limit
        stood = now - max(since, self._moved or since, self._resumed or since)
        return stood if stood > limit else None

    def look(self, now: float) -> float | None:
        """`stalled_for`, for a caller every `limit / POLLS` seconds that may be suspended."""
        before, self._polled = self._polled, now
        if before is not None and now - before > SUSPENDED * self._limit / POLLS:
            logger.warning("this process was suspended for about %.0f s", now - before)
            self._resumed = now
        return self.stalled_for(now)

    def _poll(self) -> None:
        stood = self.look(self._monotonic())
        if stood is None:
            return
        logger.critical(
            "ending this process: its engine has made no progress for %.0f s; the broker "
            "redelivers its steps",
            stood,
        )
        faulthandler.dump_traceback()  # shows where it hangs
        self._thread.stop()
        self._end_process()
