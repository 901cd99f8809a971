"""Runs Python that a model wrote, with its tests, where it can do no harm.

Each run is a fresh interpreter without site packages, in an empty folder and an empty environment,
under limits on time, memory, files and processes, without network, and with nothing of the machine
to see but the interpreter itself. `colm.models.sandbox.child` says how. What the machine's kernel
does not offer is replaced where it can be (`Verdict.kept` names what was in force). Where the
network, the files or other processes would stay open, nothing is run: SandboxUnusable.

The tests share an interpreter with the code. A program that ends early, prints "passed" or closes
every file has not passed, but one written to deceive this very sandbox can pretend that it has.
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
#: Bytes that a run may tell; more is a program that floods the pipe.
MAX_REPORT: Final = 64_000
#: The user and group that code runs as where the sandbox is root: nobody.
NOBODY: Final = 65_534

_CHILD = Path(__file__).parent / "child.py"
_SIGNALS = {128 + one.value: one for one in signal.Signals}


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one run may use."""

    #: By the clock, and of one processor.
    seconds: float = 30.0
    cpu_seconds: int = 10
    #: Bytes of address space, the interpreter's own included.
    memory: int = 512 * 2**20
    #: Bytes of one file, and megabytes of all together where it has a root of its own.
    file_size: int = 4 * 2**20
    megabytes: int = 16

    @classmethod
    def of(cls, seconds: float, memory: int) -> Limits:
        """`seconds` of processor time and `memory` bytes.

        By the clock it is three times as long: a verdict must not depend on what else is running.
        """
        return cls(seconds=3 * seconds, cpu_seconds=max(1, math.ceil(seconds)), memory=memory)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What became of a run. "error": it never came to the tests' end, and not by an exception."""

    status: Literal["passed", "failed", "timeout", "error"]
    reason: str
    seconds: float
    #: The protections in force, and why others were not.
    kept: tuple[str, ...] = ()
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

    Safe from any thread. `namespaces` False does without them, as on a machine that has none.
    Raises SandboxUnusable where the code cannot be confined, or the interpreter not started.
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
        told, code_of_end = _watch(spec, python, started + limits.seconds)
    return _verdict(told, nonce, code_of_end, limits, time.monotonic() - started)


def protections(*, python: str = sys.executable) -> Verdict:
    """The verdict of a program that only imports: what protects this machine from code.

    Not passed where code could not reach the standard library, as where only root may read it.
    """
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
    """What the child told, and its exit status; None where the clock or the flood ended it."""
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
            _hand_over(child, spec | {"pipe": writer})
            told, ended = _read(pipe.fileno(), deadline)
            return told, child.wait() if ended else None
        finally:
            _end(child)


def _hand_over(child: subprocess.Popen[bytes], spec: dict[str, Any]) -> None:
    assert child.stdin is not None
    with contextlib.suppress(BrokenPipeError), child.stdin as pipe:
        pipe.write(json.dumps(spec).encode())


def _read(pipe: int, deadline: float) -> tuple[bytes, bool]:
    """What comes through the pipe until it is closed (True), or too late or too much (False)."""
    told = b""
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while len(told) <= MAX_REPORT:
            if not selector.select(max(0.0, deadline - time.monotonic())):
                return told, False
            data = os.read(pipe, MAX_REPORT)
            if not data:
                return told, True
            told += data
    return told, False


def _end(child: subprocess.Popen[bytes]) -> None:
    """Kill all that is left of the run; its group has this one member where nothing else is."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _verdict(
    told: bytes, nonce: str, code_of_end: int | None, limits: Limits, seconds: float
) -> Verdict:
    lines = [line for raw in told.splitlines() if (line := _line(raw, nonce))]
    facts = {name: value for line in lines for name, value in line.items()}
    if not lines:
        raise SandboxUnusable(
            f"the sandbox's interpreter ended with status {code_of_end} before it ran anything"
        )
    lost = tuple(f"{what}: {why}" for what, why in facts["lost"].items())
    if facts.get("status") == "refused":
        raise SandboxUnusable(
            f"this machine cannot confine code ({facts['reason']}; {'; '.join(lost)}):"
            " run the sandbox on Linux 6.2 or newer, or where user namespaces are allowed"
        )
    status, reason = _outcome(facts, code_of_end, limits)
    kept = tuple(facts["kept"])
    return Verdict(status=status, reason=reason, seconds=seconds, kept=kept, lost=lost)


def _outcome(
    facts: dict[str, Any], code_of_end: int | None, limits: Limits
) -> tuple[Literal["passed", "failed", "timeout", "error"], str]:
    if "status" in facts:
        return ("passed" if facts["status"] == "passed" else "failed"), str(facts["reason"])
    if code_of_end is None:
        return "timeout", f"not done within {limits.seconds:g} s"
    killed = _SIGNALS.get(code_of_end)
    if killed in (signal.SIGXCPU, signal.SIGKILL):
        return "timeout", f"more than {limits.cpu_seconds} s of processor time"
    how = f"killed by {killed.name}" if killed else f"it ended with status {code_of_end}"
    return "error", f"ended before the tests did: {how}"


def _line(raw: bytes, nonce: str) -> dict[str, Any] | None:
    """A line that the child told, and not the code that it runs."""
    try:
        line = json.loads(raw)
    except ValueError:
        return None
    return line if isinstance(line, dict) and line.get("nonce") == nonce else None
