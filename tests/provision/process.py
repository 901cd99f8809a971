"""Child processes that never outlive this one, and the ports they listen on."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from colm.workers.supervisor import set_parent_death_signal, tail
from tests.provision.faults import ServiceBroken

_POLL_S = 0.02
#: Into how many parts the ports are divided between the processes of a test run.
_SHARES = 32


#: Ports given out by this process: each may get its server later.
_GIVEN_OUT: set[int] = set()


def free_port() -> int:
    """A loopback port that nobody listens on, below those that the kernel hands out by itself.

    A port of the kernel's own range could be taken by anybody's outgoing connection while its
    server is down, and a client that retries such a port can even connect to itself.
    """
    # Processes of one test run draw from other ports: each may start a server later on its port.
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw-1").removeprefix("gw")
    own = range(15_000 + (int(worker) + 1) % _SHARES, _first_ephemeral_port(), _SHARES)
    for _ in range(1000):
        port = random.choice(own)
        if port in _GIVEN_OUT:
            continue
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            _GIVEN_OUT.add(port)
            return port
    raise ServiceBroken("no free port found")


def _first_ephemeral_port() -> int:
    path = Path("/proc/sys/net/ipv4/ip_local_port_range")
    return max(20_000, int(path.read_text().split()[0])) if path.exists() else 32_768


class Child:
    """A server process with a log file, started at once."""

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        user: str | None = None,
        group: int | None = None,
    ) -> None:
        self.log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                env=env,
                cwd=log.parent,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the test run, which then stops us
                user=user,
                group=group,
                extra_groups=[] if user else None,
                preexec_fn=set_parent_death_signal(signal.SIGKILL),
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def family(self) -> list[int]:
        """The process and everything that it had started."""
        return [self.pid, *descendants(self.pid)]

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def status(self) -> int | None:
        """The exit status; None while it lives."""
        return self._process.poll()

    def wait_until(self, ready: Callable[[], bool], *, timeout: float) -> None:
        """Return once `ready()`; raises ServiceBroken with the log's end if that never comes."""
        deadline = time.monotonic() + timeout
        while not ready():
            if not self.alive:
                raise ServiceBroken(f"ended at its start; its log ends with:\n{tail(self.log)}")
            if time.monotonic() > deadline:
                raise ServiceBroken(f"not ready in {timeout:g} s; log:\n{tail(self.log)}")
            time.sleep(_POLL_S)

    def end(self, sign: signal.Signals, *, timeout: float) -> None:
        """Send `sign` and wait until the process and everything that it had started is gone.

        SIGKILL goes to all of them. After `timeout` the rest is killed, and ServiceBroken says so.
        """
        if not self.alive:  # its number may be another process's by now
            return
        family = self.family
        for pid in family if sign == signal.SIGKILL else family[:1]:
            _send(pid, sign)
        left = self._left(family, timeout)
        for pid in left:
            _send(pid, signal.SIGKILL)
        self._process.wait()
        if left:
            raise ServiceBroken(f"processes {left} outlived {sign.name} by {timeout:g} s")

    def _left(self, family: Sequence[int], timeout: float) -> list[int]:
        deadline = time.monotonic() + timeout
        while True:
            left = [pid for pid in family if running(pid)]
            if not self.alive and not left:
                return []
            if time.monotonic() > deadline:
                return left
            time.sleep(_POLL_S)


def _send(pid: int, sign: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, sign)


def running(pid: int) -> bool:
    """Whether the process exists and is more than an entry for its parent to collect."""
    return state(pid) not in ("", "Z")


def state(pid: int) -> str:
    """The letter of proc(5) for what the process does: R, S, T (stopped), Z; none if it is gone."""
    stat = _stat(pid)
    return stat[0] if stat else ""


def descendants(pid: int) -> list[int]:
    """All living children of `pid`, their children, and so on."""
    parents = {
        int(entry.name): int(stat[1])
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and (stat := _stat(int(entry.name))) is not None
    }
    found = [pid]
    for ancestor in found:  # grows while it is read
        found.extend(child for child, parent in parents.items() if parent == ancestor)
    return found[1:]


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat after the process's name: its state, its parent, ..."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text.rpartition(")")[2].split()
