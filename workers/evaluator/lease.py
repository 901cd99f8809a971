"""The lease of a run: one evaluator owns it, and renews its ownership in a thread."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Engine

from colm.db.runs import store
from colm.models.errors import ColmError
from colm.tasks.config.running_stack import pid_namespace, started
from colm.tasks.config.time_windows import TimeWindow, in_window, next_opening
from colm.workers.evaluator.run_loop import Orders

logger = logging.getLogger(__name__)

#: An evaluator that has said nothing for so long is taken to be gone, and how often it says so.
OWNED_FOR = timedelta(seconds=20)


RENEW_EVERY = 1.0


@dataclass(kw_only=True)
class RunLease:
    """Renews the ownership of a run, in its own thread, and knows what is to be done now."""

    engine: Engine
    run: str
    owner: str
    stop: threading.Event
    window: TimeWindow | None
    state: store.RunState | None = "open"
    _ended: threading.Event = field(default_factory=threading.Event)
    _renewed: float = field(default_factory=time.monotonic)

    def orders(self) -> Orders:
        """Paused runs and closed windows let what is in flight end; all else stops at once."""
        if self.stop.is_set() or self.state not in ("open", "paused"):
            return "stop"
        if time.monotonic() - self._renewed > OWNED_FOR.total_seconds():
            return "stop"  # another may have taken it
        closed = self.window is not None and not in_window(datetime.now(UTC), self.window)
        return "drain" if self.state == "paused" or closed else "ask"

    def note(self) -> str:
        """What the run waits for."""
        now = datetime.now(UTC)
        if self.window is not None and not in_window(now, self.window):
            opens = next_opening(now, self.window).astimezone(self.window.zone)
            return f"asks nothing before {opens:%a %Y-%m-%d %H:%M %Z}"
        return ""

    @contextlib.contextmanager
    def renewing(self) -> Iterator[None]:
        thread = threading.Thread(target=self._renew, name=f"keeper of {self.run}", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()

    def _renew(self) -> None:
        pause = 0.0
        while not self._ended.wait(pause):
            pause = RENEW_EVERY
            try:
                until = datetime.now(UTC) + OWNED_FOR
                self.state = store.renew(self.engine, self.run, self.owner, until)
                self._renewed = time.monotonic()
            except ColmError as error:
                logger.warning("run %s is not renewed: %s", self.run, error)


def this_process() -> str:
    """What names this process among all that ever ran: where, its id, and when it started."""
    return f"{pid_namespace()}:{os.getpid()}:{started(os.getpid())}"


def is_alive(owner: str) -> bool:
    """False only if the process that `owner` names ran where this one does, and is gone."""
    where, _, process = owner.rpartition(":")[0].rpartition(":")
    if where != pid_namespace() or not Path("/proc/self/stat").exists():
        return True
    return started(int(process)) == owner.rpartition(":")[2]
