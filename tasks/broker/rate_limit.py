"""Rate limits per sender: token buckets."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

#: Senders with a bucket; the least recently used is evicted.
MOST_SENDERS = 4_096


class TokenBucket:
    """A token bucket for each sender: `burst` tokens, refilled by `per_second`. Thread-safe."""

    def __init__(
        self, per_second: float, burst: float, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_second = per_second
        self._burst = burst
        self._clock = clock
        self._lock = threading.Lock()
        #: By sender: tokens left, the time of that count, and denials since `denied_count`.
        self._left: OrderedDict[str, tuple[float, float, int]] = OrderedDict()

    def try_acquire(self, sender: str) -> bool:
        """Take a token of the sender; False if there is none."""
        now = self._clock()
        with self._lock:
            left, before, denied = self._left.pop(sender, (self._burst, now, 0))
            left = min(self._burst, left + (now - before) * self._per_second)
            allowed = left >= 1
            self._left[sender] = (left - 1, now, denied) if allowed else (left, now, denied + 1)
            if len(self._left) > MOST_SENDERS:
                self._left.popitem(last=False)
        return allowed

    def denied_count(self, sender: str) -> int:
        """Denials of the sender since the last call."""
        with self._lock:
            if sender not in self._left:
                return 0
            left, before, denied = self._left[sender]
            self._left[sender] = (left, before, 0)
        return denied


def dead_letter_bucket() -> TokenBucket:
    """Limit of recorded dead letters per participant: bursts of 60, then one a minute."""
    return TokenBucket(1 / 60, 60)
