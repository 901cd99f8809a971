"""Exponential backoff between retries."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

logger = logging.getLogger(__name__)

R = TypeVar("R")


@dataclass(kw_only=True)
class Backoff:
    """Pauses that double from `first` to `longest` seconds. For one thread.

    `jitter` is the share of a pause that is random, so that processes stopped by
    one outage do not return together.
    """

    first: float
    longest: float
    jitter: float = 0.0
    rng: random.Random = field(default_factory=random.Random)
    clock: Callable[[], float] = time.monotonic
    #: `Event.wait` makes a pause interruptible: a true result ends the retries.
    sleep: Callable[[float], object] = time.sleep

    def __post_init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin again at `first`: the last attempt succeeded."""
        self._next = self.first

    def next_pause(self) -> float:
        """Seconds until the next attempt; the pause after it is twice as long."""
        pause, self._next = self._next, min(2 * self._next, self.longest)
        return pause * self.rng.uniform(1 - self.jitter, 1) if self.jitter else pause

    def wait(self, error: Exception) -> bool:
        """Log the error and sleep; True if the sleep was interrupted."""
        pause = self.next_pause()
        logger.warning("trying again in %.1f s: %s", pause, error)
        return bool(self.sleep(pause))

    def retry(self, work: Callable[[], R], limit_s: Callable[[Exception], float]) -> R:
        """The result of `work`, repeated until `limit_s(error)` seconds have passed.

        Raises the last error then, and on an interrupted pause. A limit of 0 is not retried.
        """
        began = self.clock()
        while True:
            try:
                return work()
            except Exception as error:
                if self.clock() - began >= limit_s(error) or self.wait(error):
                    raise
