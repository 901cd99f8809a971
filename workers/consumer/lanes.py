"""How much of each lane one process takes from the broker at once.

Overnight steps have a queue of their own, and a process reads it beside the others. It takes at
most its overnight share of them, which leaves a place in the batch free for interactive work. Its
pool has a thread for each step that it may hold, so that no interactive step waits for a thread
behind overnight ones; which of the steps in hand runs next is decided by the engine's line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

OVERNIGHT = "overnight."


def overnight_share(capacity: int) -> int:
    """How many overnight steps may run at once where `capacity` steps may."""
    return max(1, capacity - 1)


@dataclass(frozen=True, kw_only=True)
class Lanes:
    """What a process with these queues and an engine of this capacity takes at once."""

    capacity: int
    queues: tuple[str, ...]

    @property
    def overnight(self) -> frozenset[str]:
        return frozenset(name for name in self.queues if is_overnight(name))

    @property
    def threads(self) -> int:
        """One for every step that may be generated or wait for its turn to be."""
        return self.capacity + self.overnight_held

    @property
    def overnight_held(self) -> int:
        """Overnight steps that are held at once, out of all the overnight queues."""
        return len(self.overnight) * self._of_each_overnight

    def prefetch(self, queue: str) -> int:
        """Messages of `queue` that are held unacked."""
        return self._of_each_overnight if is_overnight(queue) else self.capacity

    @property
    def _of_each_overnight(self) -> int:
        return max(1, overnight_share(self.capacity) // max(1, len(self.overnight)))


def is_overnight(queue: str) -> bool:
    return queue.startswith(f"colm.{OVERNIGHT}")


def lanes_of(queues: Sequence[str], capacity: int) -> Lanes:
    return Lanes(capacity=capacity, queues=tuple(queues))
