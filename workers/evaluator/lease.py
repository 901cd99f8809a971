"""The lease of a run: one evaluator owns it and renews its ownership in a thread."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Engine

from colm.db.runs import store
from colm.tasks.config.running_stack import pid_namespace, started
from colm.tasks.config.time_windows import TimeWindow, in_window, next_opening
from colm.workers.evaluator.run_loop import Orders
from colm.workers.periodic_thread import PeriodicThread

#: An evaluator that has said nothing for so long is taken to be gone, and how often it says so.
OWNED_FOR = timedelta(seconds=20)


RENEW_EVERY = 1.0


@dataclass(kw_only=True)
class RunLease:
    """Renews the ownership of a run in a thread, and derives the current orders."""

    engine: Engine
    run: str
    owner: str
    stop: threading.Event
    window: TimeWindow | None
    state: store.RunState | None = "open"
    _renewed: float = field(default_factory=time.monotonic)

    def orders(self) -> Orders:
        """Drain a paused run and one outside its window; stop for any other reason."""
        if self.stop.is_set() or self.state not in ("open", "paused"):
            return "stop"
        if time.monotonic() - self._renewed > OWNED_FOR.total_seconds():
            return "stop"  # another may have taken it
        closed = self.window is not None and not in_window(datetime.now(UTC), self.window)
        return "drain" if self.state == "paused" or closed else "ask"

    def note(self) -> str:
        """Why the run asks nothing now; empty if it does."""
        now = datetime.now(UTC)
        if self.window is not None and not in_window(now, self.window):
            opens = next_opening(now, self.window).astimezone(self.window.zone)
            return f"asks nothing before {opens:%a %Y-%m-%d %H:%M %Z}"
        return ""

    @contextlib.contextmanager
    def renewing(self) -> Iterator[None]:
        """Renew the lease in a thread during the body."""
        thread = PeriodicThread("run-lease", RENEW_EVERY, self._renew, immediately=True)
        thread.start()
        try:
            yield
        finally:
            thread.close(timeout=None)

    def _renew(self) -> None:
        until = datetime.now(UTC) + OWNED_FOR
        self.state = store.renew(self.engine, self.run, self.owner, until)
        self._renewed = time.monotonic()


def this_process() -> str:
    """A unique name of this process: PID namespace, process id and start time."""
    return f"{pid_namespace()}:{os.getpid()}:{started(os.getpid())}"


def is_alive(owner: str) -> bool:
    """False only if the process of `owner` ran here and is gone."""
    where, _, process = owner.rpartition(":")[0].rpartition(":")
    if where != pid_namespace() or not Path("/proc/self/stat").exists():
        return True
    return started(int(process)) == owner.rpartition(":")[2]
