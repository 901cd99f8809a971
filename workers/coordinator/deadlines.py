"""Thread that advances queries at their deadlines and republishes undispatched steps."""

from __future__ import annotations

import logging
import threading

from colm.models.errors import TransientError
from colm.workers.coordinator.coordinator import Coordinator

logger = logging.getLogger(__name__)

#: How often deadlines are looked at, and how many looks lie between two for stranded steps.
POLL_SECONDS = 0.25


STRANDED_EVERY = 20


class DeadlinePoller:
    """Wakes due queries and publishes stranded steps, in its own thread, until `close`."""

    def __init__(self, coordinator: Coordinator) -> None:
        self._coordinator = coordinator
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="clockwork", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(timeout=5.0)

    def _loop(self) -> None:
        ticks = 0
        while not self._stop.wait(POLL_SECONDS):
            ticks += 1
            try:
                self._coordinator.process_due()
                if ticks % STRANDED_EVERY == 0:
                    self._coordinator.republish_undispatched()
            except TransientError as error:
                logger.warning("deadlines wait: %s", error)
            except Exception:  # the outermost loop: deadlines must go on
                logger.exception("a deadline could not be handled")
