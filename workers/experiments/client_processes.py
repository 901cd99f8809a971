"""The clients' processes of an experiment: started under its condition, watched, and ended.

One for each engine, as `colm up` has them.

A limit on memory is the kernel's RLIMIT_DATA, which needs no rights: what each process may have of
writable memory of its own, reserved or used. That is its heap and its threads' stacks, weights
that were converted while they were loaded, and the KV cache; not the program itself, nor weights
that are read where they lie in a file.
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

#: Seconds that a clients' process is given to end.
END_WITHIN: Final = 30.0
#: And to start: to load its models, and to greet the broker over a slow network.
READY_WITHIN: Final = 600.0
#: How often it is looked at (seconds).
LOOK_EVERY: Final = 0.5
MIB: Final = 2**20


@dataclass(frozen=True, kw_only=True)
class ClientsProcess:
    """A running process, and the log that it writes."""

    process: subprocess.Popen[bytes]
    log: Path

    @contextlib.contextmanager
    def watched(self, gone: Callable[[], object]) -> Iterator[None]:
        """Call `gone` when the process ends in between. ClientsGone then, when the body ends."""
        enough = threading.Event()

        def look() -> None:
            while not enough.wait(LOOK_EVERY):
                if self.process.poll() is not None:
                    gone()
                    return

        watcher = threading.Thread(target=look, name="watches the clients", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            enough.set()
            watcher.join()
        if self.process.poll() is not None:
            raise self.gone("went away in the middle")

    def await_ready(self) -> None:
        """Until Celery says that it takes tasks. Raises ClientsGone where it does not."""
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
        """What to raise when the process has ended: how, its last words, and where the rest is."""
        lines = [line.strip() for line in self.log.read_text(errors="replace").splitlines()]
        last = next((line for line in reversed(lines) if line), "it said nothing")
        return ClientsGone(
            f"the clients {what} (exit status {self.process.returncode}): {last[:300]}"
            f" ({self.log} has the rest)"
        )

    def peak(self) -> float | None:
        """The most memory that it has held (MiB); None where the system does not say."""
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
        """Call `gone` when one ends in between. ClientsGone then, when the body ends."""
        with contextlib.ExitStack() as watches:
            for process in self.processes:
                watches.enter_context(process.watched(gone))
            yield

    def peak(self) -> float | None:
        """The sum of the most memory that each has held (MiB); None where one is not known."""
        peaks = [peak for process in self.processes if (peak := process.peak()) is not None]
        return sum(peaks) if len(peaks) == len(self.processes) else None


@contextlib.contextmanager
def started(
    groups: Sequence[Sequence[str]], condition: Condition, url: str, folder: Path
) -> Iterator[Clients]:
    """The clients, ready, under the condition, a process for each group; ended at the end.

    Raises ClientsGone where they do not start.
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
    """Have the kernel refuse the process more. Raises CallerError where it cannot be told so."""
    if sys.platform != "linux":
        raise CallerError("a limit on the clients' memory needs Linux")
    limit = mebibytes * MIB
    with contextlib.suppress(ProcessLookupError):  # it has ended: that is told elsewhere
        resource.prlimit(pid, resource.RLIMIT_DATA, (limit, limit))
