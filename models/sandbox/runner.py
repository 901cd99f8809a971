"""Sandbox for untrusted Python programs and their tests.

Each run is a fresh interpreter without site packages, in an empty folder and environment, with
limits on time, memory, files and processes, without network, and without access to other files or
processes (`colm.models.sandbox.child`). Protections that the kernel lacks are replaced if possible;
`Verdict.protections` lists the active ones. Without isolation of network, files and processes
nothing is run: SandboxUnusable.

The tests share an interpreter with the code. A program that exits early, prints "passed" or closes
every file has not passed; a program written to deceive this sandbox can pass.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import secrets
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from colm.models.errors import SandboxUnusable

#: Characters of code and of tests.
MAX_PROGRAM: Final = 200_000
#: Bytes of a report; more is a program that floods the pipe.
MAX_REPORT: Final = 64_000
#: User and group of the code if the sandbox runs as root.
NOBODY: Final = 65_534

_CHILD = Path(__file__).parent / "child.py"
_SIGNALS = {128 + number.value: number for number in signal.Signals}


@dataclass(frozen=True, kw_only=True)
class Limits:
    #: Wall-clock time and processor time.
    seconds: float = 30.0
    cpu_seconds: int = 10
    #: Bytes of address space, with the interpreter.
    memory: int = 512 * 2**20
    #: Bytes of one file, and megabytes of the private root.
    file_size: int = 4 * 2**20
    megabytes: int = 16

    @classmethod
    def of(cls, seconds: float, memory: int) -> Limits:
        """`seconds` of processor time and `memory` bytes.

        The wall-clock limit is three times as long, so that load does not change a verdict.
        """
        return cls(seconds=3 * seconds, cpu_seconds=max(1, math.ceil(seconds)), memory=memory)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The result of a run. "error": it ended before the tests did, without an exception."""

    status: Literal["passed", "failed", "timeout", "error"]
    reason: str
    seconds: float
    #: Active protections, and the others with the reason.
    protections: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return self.status == "passed"


def run(
    code: str,
    tests: str = "",
    *,
    limits: Limits | None = None,
    python: str = sys.executable,
    namespaces: bool = True,
) -> Verdict:
    """Run `code`, then `tests` in the same module; passed if both end without an exception.

    Thread-safe. `namespaces` False simulates a machine without them. Raises SandboxUnusable if the
    code cannot be isolated or the interpreter not started.
    """
    limits = limits or Limits()
    if max(len(code), len(tests)) > MAX_PROGRAM:
        return Verdict(status="failed", reason=f"longer than {MAX_PROGRAM} characters", seconds=0.0)
    started = time.monotonic()
    nonce = secrets.token_hex(16)
    with _folder() as folder:
        spec = {
            "code": code,
            "tests": tests,
            "nonce": nonce,
            "folder": folder,
            "uid": NOBODY,
            "gid": NOBODY,
            "namespaces": namespaces,
            **vars(limits),
        }
        report, exit_code = _watch(spec, python, started + limits.seconds)
    return _verdict(report, nonce, exit_code, limits, time.monotonic() - started)


def protections(*, python: str = sys.executable) -> Verdict:
    """The verdict of a program that imports from the standard library: a check of this machine."""
    return run("import collections, decimal, random, re, unittest", python=python)


@contextlib.contextmanager
def _folder() -> Iterator[str]:
    folder = tempfile.mkdtemp(prefix="colm-sandbox-")
    try:
        if os.geteuid() == 0:
            os.chown(folder, NOBODY, NOBODY)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _watch(spec: dict[str, Any], python: str, deadline: float) -> tuple[bytes, int | None]:
    """The child's report and its exit code; None if it was killed for time or output."""
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb", buffering=0) as pipe:
        try:
            child = subprocess.Popen(
                [python, "-I", "-S", str(_CHILD)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[writer],
                env={},
                start_new_session=True,
            )
        except OSError as error:
            raise SandboxUnusable(f"the interpreter {python} cannot be started: {error}") from error
        finally:
            os.close(writer)
        try:
            _send_spec(child, spec | {"pipe": writer})
            report, ended = _read(pipe.fileno(), deadline)
            return report, child.wait() if ended else None
        finally:
            _kill(child)


def _send_spec(child: subprocess.Popen[bytes], spec: dict[str, Any]) -> None:
    assert child.stdin is not None
    with contextlib.suppress(BrokenPipeError), child.stdin as pipe:
        pipe.write(json.dumps(spec).encode())


def _read(pipe: int, deadline: float) -> tuple[bytes, bool]:
    """The bytes of the pipe, and True at its end or False at the deadline or MAX_REPORT."""
    report = b""
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while len(report) <= MAX_REPORT:
            if not selector.select(max(0.0, deadline - time.monotonic())):
                return report, False
            data = os.read(pipe, MAX_REPORT)
            if not data:
                return report, True
            report += data
    return report, False


def _kill(child: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _verdict(
    report: bytes, nonce: str, exit_code: int | None, limits: Limits, seconds: float
) -> Verdict:
    lines = [line for raw in report.splitlines() if (line := _line(raw, nonce))]
    facts = {name: value for line in lines for name, value in line.items()}
    if not lines:
        raise SandboxUnusable(
            f"the sandbox's interpreter ended with status {exit_code} before it ran anything"
        )
    lost = tuple(f"{what}: {why}" for what, why in facts["lost"].items())
    if facts.get("status") == "refused":
        raise SandboxUnusable(
            f"this machine cannot confine code ({facts['reason']}; {'; '.join(lost)}):"
            " run the sandbox on Linux 6.2 or newer, or where user namespaces are allowed"
        )
    status, reason = _outcome(facts, exit_code, limits)
    active = tuple(facts["kept"])
    return Verdict(status=status, reason=reason, seconds=seconds, protections=active, lost=lost)


def _outcome(
    facts: dict[str, Any], exit_code: int | None, limits: Limits
) -> tuple[Literal["passed", "failed", "timeout", "error"], str]:
    if "status" in facts:
        return ("passed" if facts["status"] == "passed" else "failed"), str(facts["reason"])
    if exit_code is None:
        return "timeout", f"not done within {limits.seconds:g} s"
    killed = _SIGNALS.get(exit_code)
    if killed in (signal.SIGXCPU, signal.SIGKILL):
        return "timeout", f"more than {limits.cpu_seconds} s of processor time"
    how = f"killed by {killed.name}" if killed else f"it ended with status {exit_code}"
    return "error", f"ended before the tests did: {how}"


def _line(raw: bytes, nonce: str) -> dict[str, Any] | None:
    """A line with the nonce; None for output of the code."""
    try:
        line = json.loads(raw)
    except ValueError:
        return None
    return line if isinstance(line, dict) and line.get("nonce") == nonce else None
