"""Who may generate beside whom in one process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class ExclusiveGate:
    """Steps generate together; a suspect generates with nothing beside it. Safe on many threads.

    A suspect that waits goes before whoever comes after it, so that it cannot be put off for ever:
    it waits for what runs already, and everything else waits for it.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._together = 0
        self._suspects = 0
        self._alone = False

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Wait until no suspect runs or waits."""
        with self._changed:
            self._changed.wait_for(lambda: not self._suspects)
            self._together += 1
        try:
            yield
        finally:
            with self._changed:
                self._together -= 1
                self._changed.notify_all()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Wait until nothing runs, and hold everything else back."""
        with self._changed:
            self._suspects += 1
            self._changed.wait_for(lambda: not (self._together or self._alone))
            self._alone = True
        try:
            yield
        finally:
            with self._changed:
                self._alone = False
                self._suspects -= 1
                self._changed.notify_all()
