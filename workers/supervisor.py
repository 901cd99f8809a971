"""Child processes: start, restart with back-off, graceful stop, lock files."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from colm.models.errors import ColmError
from colm.workers.participant.generator import EX_SOFTWARE

logger = logging.getLogger(__name__)

#: How often the processes are looked at (seconds).
LOOK_EVERY = 0.2


#: Before a process that lost its engine is started again (seconds).
RESTART_PAUSE = 1.0


def run_process_group(
    commands: Sequence[Sequence[str]], stopped: Callable[[float], bool] | None = None
) -> int:
    """Run all until the first ends, or SIGTERM or Ctrl-C comes; the first failure's exit status.

    One that ends with EX_SOFTWARE is started again, after a pause.
    """
    wait = stopped or _signalled()
    children = [_start(command) for command in commands]
    while not wait(LOOK_EVERY):
        codes = [child.poll() for child in children]
        if any(code not in (None, EX_SOFTWARE) for code in codes):
            break
        for number in [n for n, code in enumerate(codes) if code == EX_SOFTWARE]:
            logger.error("process %d lost its engine; starting it again", number)
            if wait(RESTART_PAUSE):
                break
            children[number] = _start(commands[number])
    for child in children:
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)  # a warm shutdown: what runs is finished
    return next((code for child in children if (code := child.wait())), 0)


def _start(command: Sequence[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, preexec_fn=set_parent_death_signal(), start_new_session=True)


def _signalled() -> Callable[[float], bool]:
    stop = threading.Event()
    for sign in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sign, lambda *_: stop.set())
    return stop.wait


_PR_SET_PDEATHSIG = 1


_POLL_S = 0.01


class ServiceError(ColmError):
    """A private service could not be started."""


def set_parent_death_signal(sign: signal.Signals = signal.SIGTERM) -> Callable[[], None] | None:
    """A `preexec_fn` that makes the kernel send `sign` to the child when its parent thread ends.

    The parent *thread*: start such a child from a thread that lives as long as the process. None
    where the kernel has no such thing (only Linux has); there a killed parent leaves its child.
    """
    if not sys.platform.startswith("linux"):
        return None
    # Loaded before the fork: the child may only call what needs no lock of the interpreter's.
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def arm() -> None:
        prctl(_PR_SET_PDEATHSIG, int(sign), 0, 0, 0)
        if os.getppid() != parent:  # it died before prctl could arm
            os.kill(os.getpid(), signal.SIGKILL)

    return arm


def acquire_lock_file(path: Path, patience: float = 2.0) -> BinaryIO:
    """The lock file, held until every process that shares it has closed it. Raises ServiceError.

    A server whose parent was killed needs a moment to end: that is what `patience` waits for.
    """
    lock = path.open("a+b")
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > deadline:
                lock.seek(0)
                process, _, host = lock.read(400).decode(errors="replace").partition(" ")
                lock.close()
                where = f" on {host}" if host not in ("", socket.gethostname()) else ""
                raise ServiceError(
                    f"another stack (process {process or 'unknown'}{where}) runs in {path.parent}:"
                    " stop it, or choose another folder"
                ) from error
            time.sleep(_POLL_S)
        else:
            lock.truncate(0)
            lock.write(f"{os.getpid()} {socket.gethostname()}".encode())
            lock.flush()
            return lock


def tail(path: Path, lines: int = 15) -> str:
    """The last lines of a log file; empty if there is none."""
    if not path.exists():
        return ""
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])


#: Pauses before a child that died is started again (seconds): the first, and the longest.
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0


#: A child that lived this long is healthy: its pause starts anew (seconds).
HEALTHY_AFTER = 60.0


#: How much longer than `limits.shutdown_grace` a child may take to end after SIGTERM (seconds).
STOP_GRACE = 5.0


@dataclass(kw_only=True)
class SupervisedProcess:
    """One process of the stack, restarted when it dies."""

    name: str
    arguments: Sequence[str]
    log_path: Path
    environment: Mapping[str, str]
    process: subprocess.Popen[bytes] | None = None
    restarts: int = 0
    pause: float = FIRST_PAUSE
    started_at: float = 0.0
    start_at: float = 0.0

    def start(self, now: float) -> None:
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "colm.workers", *self.arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(self.environment),
                umask=0o077,  # the record and what else it makes is nobody else's to read
                start_new_session=True,  # Ctrl-C is the supervisor's alone to pass on
                preexec_fn=set_parent_death_signal(),
            )
        self.started_at = now

    def watch(self, now: float, tell: Callable[[str], None]) -> None:
        """Start it again, after a pause that doubles while it keeps dying."""
        if self.process is None:
            if now >= self.start_at:
                self.start(now)
            return
        code = self.process.poll()
        if code is None:
            return
        if now - self.started_at > HEALTHY_AFTER:
            self.pause = FIRST_PAUSE
        tell(f"{self.name} ended with status {code}; starting it again in {self.pause:g} s")
        tell(tail(self.log_path, 5))
        self.process, self.start_at = None, now + self.pause
        self.restarts += 1
        self.pause = min(2 * self.pause, LONGEST_PAUSE)


def _end(process: subprocess.Popen[bytes], deadline: float) -> None:
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(max(0.1, deadline - time.monotonic()))
        return
    process.kill()
    process.wait()
