"""Thread that records dispatched steps in batches, one commit a batch.

A mark that is lost with its process only causes its step to be published again.
"""

from __future__ import annotations

import logging
import queue
from collections.abc import Sequence
from datetime import UTC, datetime

from colm.models.errors import TransientError
from colm.tasks.interfaces import QueryStore
from colm.workers.periodic_thread import PeriodicThread

logger = logging.getLogger(__name__)

#: Interval of the commits (seconds).
GATHER = 0.1
#: Pause after the database refused a commit (seconds).
PAUSE = 1.0


class DispatchMarkBuffer(PeriodicThread):
    """Call it with step ids from any thread; it never blocks. `close` commits what is left."""

    def __init__(self, record: QueryStore) -> None:
        super().__init__("dispatch-marks", GATHER, self._commit, retry_after=PAUSE, once_more=True)
        self._record = record
        self._queue: queue.SimpleQueue[Sequence[str]] = queue.SimpleQueue()
        self._waiting: list[str] = []
        self.start()

    def __call__(self, step_ids: Sequence[str]) -> None:
        self._queue.put(tuple(step_ids))

    def _commit(self) -> None:
        while not self._queue.empty():
            self._waiting.extend(self._queue.get())
        if not self._waiting:
            return
        step_ids, self._waiting = self._waiting, []
        try:
            self._record.mark_dispatched(step_ids, datetime.now(UTC))
        except TransientError:
            self._waiting = step_ids
            raise
        except Exception:  # later marks must go on; these steps are published again
            logger.exception("%d marks are lost", len(step_ids))
