"""The client processes of an experiment: started under its condition, watched, and ended.

One process for each engine, as in `colm up`. The memory limit is RLIMIT_DATA, which needs no
privileges. It covers private writable memory: heap, thread stacks, converted weights and KV cache;
not the program, nor weights that are mapped from a file.
"""

from __future__ import annotations

import contextlib
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from colm.evaluation.experiments.conditions import Condition
from colm.models.errors import CallerError, ClientsGone
from colm.tasks.config.settings import environment_with

#: Time limit of a process to end (seconds).
END_WITHIN: Final = 30.0
#: Time limit to load the models and to connect over a slow network (seconds).
READY_WITHIN: Final = 600.0
#: Poll interval (seconds).
POLL_EVERY: Final = 0.5
MIB: Final = 2**20


@dataclass(frozen=True, kw_only=True)
class ClientsProcess:
    """A running process and its log."""

    process: subprocess.Popen[bytes]
    log: Path

    @contextlib.contextmanager
    def watched(self, gone: Callable[[], object]) -> Iterator[None]:
        """Calls `gone` if the process ends, and raises ClientsGone at the end of the body."""
        stopped = threading.Event()

        def look() -> None:
            while not stopped.wait(POLL_EVERY):
                if self.process.poll() is not None:
                    gone()
                    return

        watcher = threading.Thread(target=look, name="client watcher", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            stopped.set()
            watcher.join()
        if self.process.poll() is not None:
            raise self.gone("ended during the run")

    def await_ready(self) -> None:
        """Waits until Celery logs that it is ready. Raises ClientsGone."""
        give_up = time.monotonic() + READY_WITHIN
        while "ready." not in self.log.read_text(errors="replace"):
            if self.process.poll() is not None:
                raise self.gone("did not start")
            if time.monotonic() > give_up:
                raise ClientsGone(
                    f"the clients took more than {READY_WITHIN:g} s to start: {self.log}"
                )
            time.sleep(0.1)

    def gone(self, what: str) -> ClientsGone:
        """The error for a process that ended, with its exit status and last log line."""
        lines = [line.strip() for line in self.log.read_text(errors="replace").splitlines()]
        last = next((line for line in reversed(lines) if line), "no output")
        return ClientsGone(
            f"the clients {what} (exit status {self.process.returncode}): {last[:300]}"
            f" (see {self.log})"
        )

    def peak(self) -> float | None:
        """Peak resident memory (MiB); None where the system does not report it."""
        try:
            status = Path(f"/proc/{self.process.pid}/status").read_text()
        except OSError:
            return None
        peaks = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
        return int(peaks[0]) / 1024 if peaks else None


@dataclass(frozen=True, kw_only=True)
class Clients:
    """The running processes of all clients."""

    processes: tuple[ClientsProcess, ...]

    @contextlib.contextmanager
    def watched(self, gone: Callable[[], object]) -> Iterator[None]:
        """Calls `gone` if a process ends, and raises ClientsGone at the end of the body."""
        with contextlib.ExitStack() as watches:
            for process in self.processes:
                watches.enter_context(process.watched(gone))
            yield

    def peak(self) -> float | None:
        """The sum of the processes' peak memory (MiB); None if one is unknown."""
        peaks = [peak for process in self.processes if (peak := process.peak()) is not None]
        return sum(peaks) if len(peaks) == len(self.processes) else None


@contextlib.contextmanager
def started(
    groups: Sequence[Sequence[str]], condition: Condition, url: str, folder: Path
) -> Iterator[Clients]:
    """Client processes under the condition, one for each group, ready; ended at exit.

    Raises ClientsGone if they do not start.
    """
    with contextlib.ExitStack() as stack:
        processes = [
            stack.enter_context(_process(names, condition, url, folder)) for names in groups
        ]
        for process in processes:
            process.await_ready()
        yield Clients(processes=tuple(processes))


@contextlib.contextmanager
def _process(
    names: Sequence[str], condition: Condition, url: str, folder: Path
) -> Iterator[ClientsProcess]:
    threads = ["--threads", str(condition.threads)] if condition.threads else []
    path = folder / f"clients-{condition.name}-{names[0]}.log"
    with path.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "colm.workers", "client", *names, *threads],
            env=environment_with(COLM_BROKER=url),
            stdout=log,
            stderr=log,
        )
    try:
        if condition.memory is not None:
            limit_memory(process.pid, condition.memory)
        yield ClientsProcess(process=process, log=path)
    finally:
        process.terminate()
        try:
            process.wait(END_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def limit_memory(pid: int, mebibytes: int) -> None:
    """Sets the kernel's limit. Raises CallerError on a system without one."""
    if sys.platform != "linux":
        raise CallerError("a limit on the clients' memory needs Linux")
    limit = mebibytes * MIB
    with contextlib.suppress(ProcessLookupError):  # it has ended, which await_ready reports
        resource.prlimit(pid, resource.RLIMIT_DATA, (limit, limit))
