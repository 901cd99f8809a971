"""Queue of waiting requests, and the KV budget. Pure: no clock, no torch, no threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

#: Interactive requests that may pass a waiting overnight one before its turn comes.
PATIENCE = 16


@dataclass(frozen=True, kw_only=True)
class KVBudget:
    """Budget of the KV cache: a rectangle, each row as long as the longest."""

    rows: int
    tokens: int

    def fits(self, reaches: Iterable[int], reach: int) -> bool:
        """Whether a request of `reach` tokens fits beside running ones of `reaches` tokens."""
        rows = [*reaches, reach]
        return len(rows) <= self.rows and len(rows) * max(rows) <= self.tokens


class WaitingQueue(Generic[T]):
    """First come, first served within a lane; interactive before overnight.

    One overnight request enters for every PATIENCE interactive ones that passed it: no starvation.
    The next request stays next until there is room: small ones do not overtake a large one.
    """

    def __init__(self) -> None:
        self._interactive: deque[T] = deque()
        self._overnight: deque[T] = deque()
        self._passed = 0

    def __len__(self) -> int:
        return len(self._interactive) + len(self._overnight)

    def join(self, item: T, *, overnight: bool) -> None:
        (self._overnight if overnight else self._interactive).append(item)

    def first(self) -> T | None:
        """The next item; it stays in the queue."""
        lane = self._lane()
        return lane[0] if lane else None

    def pop(self) -> T:
        """Remove and return the next item; IndexError if there is none."""
        lane = self._lane()
        item = lane.popleft()
        passes = lane is self._interactive and self._overnight
        self._passed = self._passed + 1 if passes else 0
        return item

    def drop(self, gone: Callable[[T], bool]) -> None:
        """Remove every item for which `gone` is true."""
        self._interactive = deque(item for item in self._interactive if not gone(item))
        self._overnight = deque(item for item in self._overnight if not gone(item))

    def _lane(self) -> deque[T]:
        owed = self._passed >= PATIENCE and self._overnight
        return self._overnight if owed or not self._interactive else self._interactive
