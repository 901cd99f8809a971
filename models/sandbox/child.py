"""Child process of `sandbox.runner`: isolates itself, runs the code, reports the result.

Three nested processes. The first enters new namespaces; the second, PID 1 of its namespace, changes
its root; the third drops user, capabilities, file access and most system calls, and runs the code.
Protections that the kernel refuses are reported. Without protection of the network, the files or
the other processes, the code is not run.

The report is JSON lines on a pipe. Only lines with the nonce count, and the result line is written
after the tests: code that exits early has not passed. Code that searches this interpreter for the
nonce can find it, so a verdict is no proof against fraud.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import sys
import types
from typing import Any

sys.path.insert(0, os.path.abspath(__file__).rsplit(os.sep, 4)[0])  # the folder of colm
from colm.models.sandbox import landlock, namespaces, seccomp, syscalls

del sys.path[0]

#: Characters of an error.
MAX_REASON = 500
#: Required isolation, with the protections that each provide it.
REQUIRED = {
    "the network": ("own network", "system calls"),
    "the files": ("own root", "Landlock"),
    "the other processes": ("own processes", "system calls"),
}


def main() -> None:
    spec = json.load(sys.stdin.buffer)
    syscalls.die_with_parent()
    # A wall-clock limit that holds even if the parent dies.
    signal.alarm(int(spec["seconds"]) + 3)
    active: list[str] = []
    lost: dict[str, str] = {}
    owner = (os.geteuid(), os.getegid())
    if spec["namespaces"]:
        with _noting(lost, "own network"):
            namespaces.new_namespaces(*owner)
            active += ["own network", "own processes"]
    _wait_for(lambda: _second(spec, active, lost, owner))


def _second(
    spec: dict[str, Any], active: list[str], lost: dict[str, str], owner: tuple[int, int]
) -> None:
    syscalls.die_with_parent()
    target = (spec["uid"], spec["gid"]) if owner[0] == 0 else owner
    if "own network" in active:
        with _noting(lost, "own root"):
            namespaces.private_root(spec["folder"], target, spec["megabytes"])
            active.append("own root")
    if "own root" not in active:
        os.chdir(spec["folder"])
    _wait_for(lambda: _third(spec, active, lost, target))


def _third(
    spec: dict[str, Any], active: list[str], lost: dict[str, str], target: tuple[int, int]
) -> None:
    os.dup2(1, 0)
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(target[1], target[1], target[1])
        os.setresuid(target[0], target[0], target[0])
        active.append("nobody's rights")
    syscalls.drop_capabilities()
    syscalls.die_with_parent()
    syscalls.forbid_new_privileges()
    if "own root" not in active:
        with _noting(lost, "Landlock"):
            landlock.restrict_files(namespaces.interpreter_folders(), ".")
            active.append("Landlock")
    _limit(spec)
    active.append("limits")
    with _noting(lost, "system calls"):
        seccomp.install_filter()
        active.append("system calls")
    report = {"kept": active, "lost": lost}
    exposed = [what for what, by in REQUIRED.items() if not set(by) & set(active)]
    if exposed:
        _send(spec, report | {"status": "refused", "reason": "open to it: " + ", ".join(exposed)})
        os._exit(0)
    _send(spec, report)
    _run(spec)


def _limit(spec: dict[str, Any]) -> None:
    seconds = int(spec["cpu_seconds"])
    limits = {
        resource.RLIMIT_CPU: (seconds, seconds + 1),
        resource.RLIMIT_AS: (spec["memory"], spec["memory"]),
        resource.RLIMIT_FSIZE: (spec["file_size"], spec["file_size"]),
        resource.RLIMIT_NOFILE: (32, 32),
        resource.RLIMIT_NPROC: (0, 0),  # no further process or thread
        resource.RLIMIT_CORE: (0, 0),
    }
    for kind, limit in limits.items():
        resource.setrlimit(kind, limit)


def _run(spec: dict[str, Any]) -> None:
    """Run the code, then the tests in the same module, report, and exit without cleanup."""
    write, leave, pipe = os.write, os._exit, spec["pipe"]
    passed = _line(spec, {"status": "passed", "reason": ""})
    module = types.ModuleType("program")
    sys.modules["program"] = module
    sys.argv = ["program"]
    source = {"<code>": spec["code"], "<tests>": spec["tests"]}
    line = passed
    try:
        for name, text in source.items():
            exec(compile(text, name, "exec", dont_inherit=True), module.__dict__)
    except BaseException as error:  # noqa: BLE001 - whatever the code raises is the verdict
        line = _line(spec, {"status": "failed", "reason": _reason(error, source)})
    write(pipe, line)
    leave(0)


def _reason(error: BaseException, source: dict[str, str]) -> str:
    """The error in one line, with the line of the tests or the code that raised it."""
    text = type(error).__name__
    with contextlib.suppress(BaseException):
        text += f": {error}"
    where, trace = "", error.__traceback__
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if name in source:
            lines = source[name].splitlines()
            line = lines[trace.tb_lineno - 1].strip() if trace.tb_lineno <= len(lines) else ""
            where = f" (line {trace.tb_lineno} of the {name[1:-1]}: {line})"
            if name == "<tests>":
                break
        trace = trace.tb_next
    return text[: MAX_REASON // 2] + where[: MAX_REASON // 2]


def _send(spec: dict[str, Any], report: dict[str, Any]) -> None:
    os.write(spec["pipe"], _line(spec, report))


def _line(spec: dict[str, Any], report: dict[str, Any]) -> bytes:
    return json.dumps(report | {"nonce": spec["nonce"]}).encode() + b"\n"


class _noting(contextlib.AbstractContextManager[None]):  # noqa: N801 - reads as a statement
    """Context manager that records an OSError as the reason of a lost protection."""

    def __init__(self, lost: dict[str, str], what: str) -> None:
        self._lost, self._what = lost, what

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if isinstance(error, OSError):
            self._lost[self._what] = str(error)
            return True
        return False


def _wait_for(stage: Any) -> None:
    """Run `stage` in a child and exit with its status, or with 128 + its signal."""
    child = os.fork()
    if child == 0:
        try:
            stage()
        finally:
            os._exit(70)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    os._exit(code if code >= 0 else 128 - code)


if __name__ == "__main__":
    main()
