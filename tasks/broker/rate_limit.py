"""How much one sender may send: token buckets, one for each sender."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

#: Senders that are remembered. A coordinator knows its participants; more are strangers.
MOST_SENDERS = 4_096


class TokenBucket:
    """So many at once, and so many more with time, for each sender. Safe on many threads.

    A token bucket: it holds up to `burst` tokens and gains `per_second`; each `take` needs one.
    """

    def __init__(
        self, per_second: float, burst: float, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_second = per_second
        self._burst = burst
        self._clock = clock
        self._lock = threading.Lock()
        #: By sender: tokens left, when that was, and how often there was none since the last take.
        self._left: OrderedDict[str, tuple[float, float, int]] = OrderedDict()

    def try_acquire(self, sender: str) -> bool:
        """Whether the sender may send one more now."""
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
        """How often the sender was denied since this was last asked."""
        with self._lock:
            if sender not in self._left:
                return 0
            left, before, denied = self._left[sender]
            self._left[sender] = (left, before, 0)
        return denied


def dead_letter_bucket() -> TokenBucket:
    """For the dead letters of one participant: 60 at once, and one more a minute.

    What it submits and cannot be used is kept with the reason, and must not fill the record.
    """
    return TokenBucket(1 / 60, 60)
