"""Prefetch counts and pool size of a process, by lane.

Overnight steps have queues of their own. A process holds at most its overnight share of them, which
leaves a place in the batch free for interactive steps. The pool has a thread for each step that the
process may hold, so that no interactive step waits for a thread; the engine decides which step runs
next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

OVERNIGHT = "overnight."


def overnight_share(capacity: int) -> int:
    """The number of overnight steps that may run at once, of `capacity` steps in all."""
    return max(1, capacity - 1)


@dataclass(frozen=True, kw_only=True)
class Lanes:
    """The lanes of a process with these queues and an engine of this capacity."""

    capacity: int
    queues: tuple[str, ...]

    @property
    def overnight(self) -> frozenset[str]:
        return frozenset(name for name in self.queues if is_overnight(name))

    @property
    def threads(self) -> int:
        """Size of the thread pool: one for every step that the process may hold."""
        return self.capacity + self.overnight_held

    @property
    def overnight_held(self) -> int:
        """Number of overnight steps that the process may hold, over all overnight queues."""
        return len(self.overnight) * self._of_each_overnight

    def prefetch(self, queue: str) -> int:
        """Prefetch count of `queue`."""
        return self._of_each_overnight if is_overnight(queue) else self.capacity

    @property
    def _of_each_overnight(self) -> int:
        return max(1, overnight_share(self.capacity) // max(1, len(self.overnight)))


def is_overnight(queue: str) -> bool:
    return queue.startswith(f"colm.{OVERNIGHT}")


def lanes_of(queues: Sequence[str], capacity: int) -> Lanes:
    return Lanes(capacity=capacity, queues=tuple(queues))
