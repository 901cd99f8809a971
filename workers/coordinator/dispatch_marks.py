"""Marks steps as dispatched, many in one commit, behind the back of the tasks that sent them.

A mark that is lost with its process only means that the step is published once more.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Sequence
from datetime import UTC, datetime

from colm.models.errors import TransientError
from colm.tasks.interfaces import QueryStore

logger = logging.getLogger(__name__)

#: How long marks are gathered before they are committed (seconds).
GATHER = 0.1
#: Pause after the database refused (seconds).
PAUSE = 1.0


class DispatchMarkBuffer:
    """Call it with step ids from any thread; it never blocks."""

    def __init__(self, record: QueryStore) -> None:
        self._record = record
        self._queue: queue.SimpleQueue[Sequence[str]] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="marks", daemon=True)
        self._thread.start()

    def __call__(self, step_ids: Sequence[str]) -> None:
        self._queue.put(tuple(step_ids))

    def close(self) -> None:
        """Commit what has been gathered, then end."""
        self._stop.set()
        self._thread.join(timeout=5.0)

    def _loop(self) -> None:
        waiting: list[str] = []
        while not (self._stop.is_set() and not waiting and self._queue.empty()):
            self._stop.wait(GATHER)
            while not self._queue.empty():
                waiting.extend(self._queue.get())
            if waiting and self._commit(waiting):
                waiting = []
            elif self._stop.is_set():
                return

    def _commit(self, step_ids: Sequence[str]) -> bool:
        try:
            self._record.mark_dispatched(step_ids, datetime.now(UTC))
        except TransientError as error:
            logger.warning("%d marks wait: %s", len(step_ids), error)
            self._stop.wait(PAUSE)
            return False
        except Exception:  # the outermost loop: later marks must go on; these steps are repeated
            logger.exception("%d marks are given up", len(step_ids))
        return True
