"""A Celery worker that ends when it is told to: in time, without loss and without a traceback.

SIGTERM, SIGINT (Ctrl-C) and SIGQUIT ask it to finish: it takes no more messages, hands back those
that it has not begun, and ends with what is running. What has not finished within its time, or when
a second signal comes, is handed back as well, by closing the connection without acks: the broker
delivers it again.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from types import FrameType
from typing import Any

from celery.apps.worker import Worker
from celery.worker import state

from workers.lanes import Lanes

logger = logging.getLogger(__name__)

#: How long the connection may take to close before the process ends without it (seconds).
CLOSE_WITHIN = 3.0


class PlainWorker(Worker):
    """Celery's worker with our signals; `within` is how long it may take to finish (seconds)."""

    def __init__(self, *args: Any, lanes: Lanes | None, within: float, **options: Any) -> None:
        self.lanes = lanes
        self._within = within
        self._hurry = threading.Event()
        self._asked = False
        super().__init__(*args, **options)

    def install_platform_tweaks(self, worker: Any) -> None:  # noqa: ARG002  # Celery calls with it
        """Our signal handlers in the place of Celery's."""
        for sign in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            signal.signal(sign, self._on_signal)

    def _on_signal(self, _sign: int, _frame: FrameType | None) -> None:
        # In the middle of anything: another thread does what takes a lock.
        if self._asked:
            self._hurry.set()
            return
        self._asked = True
        state.should_stop = os.EX_OK  # type: ignore[assignment]  # the stubs know None only
        threading.Thread(target=self._see_to_the_end, name="shutdown", daemon=True).start()

    def _see_to_the_end(self) -> None:
        logger.info("asked to stop: finishing what runs, within %g s", self._within)
        self._hurry.wait(self._within)
        running = len(state.active_requests)
        logger.warning("ending now; %d tasks are handed back", running)
        closing = threading.Thread(target=self._close_connection, daemon=True)
        closing.start()
        closing.join(CLOSE_WITHIN)
        logging.shutdown()
        os._exit(os.EX_OK)

    def _close_connection(self) -> None:
        """The embedded broker has to be told what comes back; RabbitMQ sees the connection end."""
        connection = getattr(getattr(self, "consumer", None), "connection", None)
        if connection is not None:
            connection.close()
