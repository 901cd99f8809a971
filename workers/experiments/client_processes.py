"""Client processes of an experiment, one for each engine, under the experiment's condition.

A memory limit is RLIMIT_DATA, which needs no privileges. It covers a process's writable private
memory, reserved or used: heap, thread stacks, converted weights, KV cache. It covers neither the
program nor memory-mapped weights.
"""

from __future__ import annotations

import contextlib
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from colm.evaluation.experiments.conditions import Condition
from colm.models.errors import CallerError, ClientsGone
from colm.tasks.config.settings import environment_with
from colm.workers.periodic_thread import PeriodicThread
from colm.workers.supervisor import SupervisedProcess, colm_command, stop_processes

#: Time from SIGTERM to SIGKILL (seconds).
STOP_GRACE: Final = 30.0
#: Time to load the models and to connect to the broker over a slow network (seconds).
READY_TIMEOUT: Final = 600.0
#: Interval at which the processes are polled (seconds).
POLL_SECONDS: Final = 0.5
MIB: Final = 2**20


@dataclass(frozen=True, kw_only=True)
class Clients:
    """The running processes of all clients."""

    processes: tuple[SupervisedProcess, ...]

    @contextlib.contextmanager
    def watched(self, on_exit: Callable[[], object]) -> Iterator[None]:
        """Call `on_exit` once if a process ends during the body, which then raises ClientsGone."""

        def poll() -> None:
            if not all(process.alive for process in self.processes):
                thread.stop()
                on_exit()

        thread = PeriodicThread("client-watch", POLL_SECONDS, poll)
        thread.start()
        try:
            yield
        finally:
            thread.close(timeout=None)
        for process in self.processes:
            if not process.alive:
                raise exit_error(process, "ended during the run")

    def peak(self) -> float | None:
        """Sum of the processes' peak resident memory (MiB); None if one is unknown."""
        peaks = [peak for process in self.processes if (peak := peak_memory(process)) is not None]
        return sum(peaks) if len(peaks) == len(self.processes) else None


@contextlib.contextmanager
def started(
    groups: Sequence[Sequence[str]], condition: Condition, url: str, folder: Path
) -> Iterator[Clients]:
    """Ready clients under the condition, one process a group. Raises ClientsGone if one fails."""
    processes = [_client_process(names, condition, url, folder) for names in groups]
    try:
        for process in processes:
            process.start(time.monotonic())
            if condition.memory is not None:
                assert process.process is not None
                limit_memory(process.process.pid, condition.memory)
        for process in processes:
            await_ready(process)
        yield Clients(processes=tuple(processes))
    finally:
        stop_processes(processes, STOP_GRACE)


def await_ready(process: SupervisedProcess) -> None:
    """Wait for Celery's ready line in the log. Raises ClientsGone."""
    give_up = time.monotonic() + READY_TIMEOUT
    while "ready." not in _log_of(process):
        if not process.alive:
            raise exit_error(process, "did not start")
        if time.monotonic() > give_up:
            raise ClientsGone(
                f"the clients took more than {READY_TIMEOUT:g} s to start: {process.log_path}"
            )
        time.sleep(0.1)


def exit_error(process: SupervisedProcess, what: str) -> ClientsGone:
    """The error for a process that has ended, with its status and its last log line."""
    lines = [line.strip() for line in _log_of(process).splitlines()]
    last = next((line for line in reversed(lines) if line), "its log is empty")
    return ClientsGone(
        f"the clients {what} (exit status {process.status}): {last[:300]} (see {process.log_path})"
    )


def peak_memory(process: SupervisedProcess) -> float | None:
    """Peak resident memory (MiB); None where /proc does not report it."""
    assert process.process is not None
    try:
        status = Path(f"/proc/{process.process.pid}/status").read_text()
    except OSError:
        return None
    peaks = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(peaks[0]) / 1024 if peaks else None


def limit_memory(pid: int, mebibytes: int) -> None:
    """Limit the process's data segment. Raises CallerError except on Linux."""
    if sys.platform != "linux":
        raise CallerError("a limit on the clients' memory needs Linux")
    limit = mebibytes * MIB
    with contextlib.suppress(ProcessLookupError):  # ended already: `await_ready` reports it
        resource.prlimit(pid, resource.RLIMIT_DATA, (limit, limit))


def _client_process(
    names: Sequence[str], condition: Condition, url: str, folder: Path
) -> SupervisedProcess:
    threads = ["--threads", str(condition.threads)] if condition.threads else []
    log_path = folder / f"clients-{condition.name}-{names[0]}.log"
    log_path.write_bytes(b"")  # of an earlier run
    return SupervisedProcess(
        name=f"clients {', '.join(names)}",
        command=colm_command("client", *names, *threads),
        log_path=log_path,
        environment=environment_with(COLM_BROKER=url),
    )


def _log_of(process: SupervisedProcess) -> str:
    assert process.log_path is not None
    return process.log_path.read_text(errors="replace")
