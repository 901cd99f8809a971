"""Ends a process whose engine hangs: nothing else can free a thread that a device has swallowed.

An engine tells of its progress with `pulse`. Where that stands still while a request has been in
hand for as long, the process ends without acking anything: the broker delivers its steps again, to
another process or to this one's successor, and whoever keeps the service up starts it again.

A process that was frozen itself (SIGSTOP, a suspended machine) proves nothing about its engine:
when it goes on, the engine is given its whole time again.
"""

from __future__ import annotations

import faulthandler
import logging
import threading
import time
from collections.abc import Callable

logger = logging.getLogger(__name__)

#: Before its first sign of progress an engine may compile and warm up for this many times longer.
FIRST = 5.0
#: How often the engine is looked at, for each limit's length (looks).
LOOKS = 10
#: A look that comes later than this many looks' time was held up with the whole process (looks).
FROZEN = 5


class Watchdog:
    """Looks in its own thread, from `start` to `close`. Times are seconds of one monotonic clock.

    `waiting_since` says when the longest-held request was handed to the engine; None without one.
    """

    def __init__(
        self,
        pulse: Callable[[], int],
        waiting_since: Callable[[], float | None],
        limit: float,
        end_process: Callable[[], None],
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pulse = pulse
        self._waiting_since = waiting_since
        self._limit = limit
        self._end_process = end_process
        self._monotonic = monotonic
        self._last = pulse()
        self._moved: float | None = None
        self._looked: float | None = None
        self._resumed: float | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="watchdog", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(timeout=2.0)

    def stalled_for(self, now: float) -> float | None:
        """How long nothing has moved, if that is longer than it may be."""
        pulse = self._pulse()
        if pulse != self._last:
            self._last, self._moved = pulse, now
        since = self._waiting_since()
        if since is None:
            return None
        limit = self._limit if self._moved is not None else FIRST * self._limit
        stood = now - max(since, self._moved or since, self._resumed or since)
        return stood if stood > limit else None

    def look(self, now: float) -> float | None:
        """`stalled_for`, asked every `limit / LOOKS` seconds by a thread that may be held up."""
        before, self._looked = self._looked, now
        if before is not None and now - before > FROZEN * self._limit / LOOKS:
            logger.warning("this process stood still for about %.0f s", now - before)
            self._resumed = now
        return self.stalled_for(now)

    def _loop(self) -> None:
        self._looked = self._monotonic()
        while not self._stop.wait(self._limit / LOOKS):
            stood = self.look(self._monotonic())
            if stood is not None:
                logger.critical(
                    "ending this process: its engine has work and has not moved for %.0f s; its "
                    "steps are delivered again",
                    stood,
                )
                faulthandler.dump_traceback()  # where it hangs
                self._end_process()
                return
