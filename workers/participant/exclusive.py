"""Lock by which a step runs isolated, with no other step of its process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class ExclusiveGate:
    """Readers-writer lock that prefers writers: steps share it, an isolated step excludes all.

    An isolated step waits for the running steps; no other step starts while it waits or runs.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._shared = 0
        #: Exclusive holders, waiting and running.
        self._exclusive = 0
        self._isolated = False

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Wait until no isolated step runs or waits."""
        with self._changed:
            self._changed.wait_for(lambda: not self._exclusive)
            self._shared += 1
        try:
            yield
        finally:
            with self._changed:
                self._shared -= 1
                self._changed.notify_all()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Wait until no step runs, and let none start."""
        with self._changed:
            self._exclusive += 1
            self._changed.wait_for(lambda: not (self._shared or self._isolated))
            self._isolated = True
        try:
            yield
        finally:
            with self._changed:
                self._isolated = False
                self._exclusive -= 1
                self._changed.notify_all()
