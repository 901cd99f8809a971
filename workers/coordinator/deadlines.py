"""Thread that advances queries at their deadlines and republishes undispatched steps."""

from __future__ import annotations

import itertools

from colm.workers.coordinator.coordinator import Coordinator
from colm.workers.periodic_thread import PeriodicThread

#: Interval of the thread (seconds).
POLL_SECONDS = 0.25
#: Undispatched steps are republished on every so many polls.
REPUBLISH_EVERY = 20


class DeadlinePoller(PeriodicThread):
    """Advances due queries and publishes undispatched steps, from creation to `close`."""

    def __init__(self, coordinator: Coordinator) -> None:
        super().__init__("deadlines", POLL_SECONDS, self._poll)
        self._coordinator = coordinator
        self._polls = itertools.count(1)
        self.start()

    def _poll(self) -> None:
        self._coordinator.process_due()
        if next(self._polls) % REPUBLISH_EVERY == 0:
            self._coordinator.republish_undispatched()
