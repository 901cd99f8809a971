"""Supervision of child processes: start, restart with back-off, stop with a grace period."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

logger = logging.getLogger(__name__)

#: Interval at which `run_process_group` polls its processes (seconds).
POLL_SECONDS: Final = 0.2
#: Pause before a restart (seconds): the first, and the longest. It doubles with every restart.
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
#: Uptime after which the next restart waits FIRST_PAUSE again (seconds).
HEALTHY_AFTER: Final = 60.0
#: Time from SIGTERM to SIGKILL, on top of `limits.shutdown_grace` (seconds).
STOP_GRACE: Final = 5.0

_PR_SET_PDEATHSIG: Final = 1


@dataclass(kw_only=True)
class SupervisedProcess:
    """Child process with restarts. It has its own session: Ctrl-C reaches only the supervisor.

    On Linux it gets SIGTERM when the thread that started it ends.
    """

    name: str
    command: Sequence[str]
    #: Gets standard output and error; None for those of this process.
    log_path: Path | None = None
    environment: Mapping[str, str] | None = None
    umask: int = -1
    #: File descriptors that the child inherits.
    pass_fds: Sequence[int] = ()
    process: subprocess.Popen[bytes] | None = None
    restarts: int = 0
    pause: float = FIRST_PAUSE
    started_at: float = 0.0
    start_at: float = 0.0

    def start(self, now: float) -> None:
        log = self.log_path.open("ab") if self.log_path else contextlib.nullcontext()
        with log as output:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL if self.log_path else None,
                stdout=output,
                stderr=output,
                env=self.environment,
                umask=self.umask,
                pass_fds=self.pass_fds,
                start_new_session=True,
                preexec_fn=set_parent_death_signal(),
            )
        self.started_at = now

    @property
    def status(self) -> int | None:
        """The exit status; None while the process runs or waits for its restart."""
        return self.process.poll() if self.process else None

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def watch(self, now: float, tell: Callable[[str], None]) -> None:
        """Restart the process if it has ended and its pause is over. `tell` gets the reason."""
        if self.process is None:
            if now >= self.start_at:
                self.start(now)
            return
        if (status := self.status) is None:
            return
        if now - self.started_at > HEALTHY_AFTER:
            self.pause = FIRST_PAUSE
        tell(f"{self.name} ended with status {status}; starting it again in {self.pause:g} s")
        if last := tail(self.log_path, 5):
            tell(last)
        self.process, self.start_at = None, now + self.pause
        self.restarts += 1
        self.pause = min(2 * self.pause, LONGEST_PAUSE)


def stop_processes(
    processes: Sequence[SupervisedProcess],
    grace: float | None,
    sign: signal.Signals = signal.SIGTERM,
) -> int:
    """Send `sign` to all, then SIGKILL after `grace` seconds; the first exit status other than 0.

    Without `grace` it waits for ever.
    """
    running = [child.process for child in processes if child.process is not None]
    for process in running:
        process.send_signal(sign)
    deadline = None if grace is None else time.monotonic() + grace
    for process in running:
        try:
            process.wait(None if deadline is None else max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    return next((process.returncode for process in running if process.returncode), 0)


def run_process_group(
    commands: Sequence[Sequence[str]], stopped: Callable[[float], bool] | None = None
) -> int:
    """Run all until one ends, or SIGTERM or Ctrl-C arrives; the first exit status other than 0.

    A process that ends with EX_SOFTWARE, which means that it lost its engine, is restarted.
    """
    wait = stopped or stop_event().wait
    children = [
        SupervisedProcess(name=f"process {number}", command=command)
        for number, command in enumerate(commands)
    ]
    for child in children:
        child.start(time.monotonic())
    while not wait(POLL_SECONDS):
        if any(child.status not in (None, os.EX_SOFTWARE) for child in children):
            break
        for child in children:
            if child.status in (None, os.EX_SOFTWARE):  # the rest ended since: see the next poll
                child.watch(time.monotonic(), logger.error)
    return stop_processes(children, grace=None)


def stop_event() -> threading.Event:
    """An event that SIGTERM and Ctrl-C set from now on."""
    stop = threading.Event()
    for sign in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sign, lambda *_: stop.set())
    return stop


def colm_command(*arguments: str) -> list[str]:
    """The command line of `colm ARGUMENTS` with this interpreter."""
    return [sys.executable, "-m", "colm.workers", *arguments]


def set_parent_death_signal(sign: signal.Signals = signal.SIGTERM) -> Callable[[], None] | None:
    """A `preexec_fn` with which the kernel sends `sign` to the child when its parent thread ends.

    Start the child from a thread that lives as long as the process. None except on Linux: there a
    child outlives a parent that is killed.
    """
    if not sys.platform.startswith("linux"):
        return None
    # Loaded before the fork: the child must not wait for a lock of the interpreter.
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def arm() -> None:
        prctl(_PR_SET_PDEATHSIG, int(sign), 0, 0, 0)
        if os.getppid() != parent:  # the parent ended before prctl
            os.kill(os.getpid(), signal.SIGKILL)

    return arm


def tail(path: Path | None, lines: int = 15) -> str:
    """The last lines of a log file; empty if there is none."""
    if path is None or not path.exists():
        return ""
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
