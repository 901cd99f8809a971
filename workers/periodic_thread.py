"""Daemon thread that calls a function at intervals."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from colm.models.errors import TransientError


class PeriodicThread(threading.Thread):
    """Calls `function` every `interval` seconds, from `start` to `close`.

    Errors are logged and do not end the thread: TransientError as a warning, others with their
    traceback.
    """

    def __init__(
        self,
        name: str,
        interval: float | Callable[[], float],
        function: Callable[[], object],
        *,
        immediately: bool = False,
        retry_after: float | None = None,
        once_more: bool = False,
    ) -> None:
        """`interval` may be a function that returns the next wait.

        `immediately` makes the first call without a wait, `once_more` makes a last one at `close`.
        After a TransientError the wait is `retry_after` seconds, if given.
        """
        super().__init__(name=name, daemon=True)
        self._interval = interval
        self._function = function
        self._immediately = immediately
        self._retry_after = retry_after
        self._once_more = once_more
        self._closed = threading.Event()
        # A logger of its own: LogThrottle counts by logger.
        self._logger = logging.getLogger(f"{__name__}.{name}")

    def stop(self) -> None:
        """End after the call in progress, without waiting. Safe within `function`."""
        self._closed.set()

    def close(self, timeout: float | None = 5.0) -> None:
        """Stop, and wait up to `timeout` seconds for the thread to end."""
        self._closed.set()
        if self.is_alive():
            self.join(timeout)

    def run(self) -> None:
        wait = 0.0 if self._immediately else self._next_wait()
        while not self._closed.wait(wait):
            wait = self._call()
        if self._once_more:
            self._call()

    def _call(self) -> float:
        """Call the function; the seconds to wait before the next call."""
        try:
            self._function()
        except TransientError as error:
            wait = self._next_wait() if self._retry_after is None else self._retry_after
            self._logger.warning("%s: %s; trying again in %g s", self.name, error, wait)
            return wait
        except Exception:  # the outermost loop of a thread: the next call must follow
            self._logger.exception("%s failed", self.name)
        return self._next_wait()

    def _next_wait(self) -> float:
        return self._interval() if callable(self._interval) else self._interval
