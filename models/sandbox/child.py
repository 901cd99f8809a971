"""Process that `sandbox.runner` starts: it confines itself, runs the code, reports the result.

Three processes, so that the last one can be locked in whole. The first leaves the machine's
namespaces; the second, the first of its own process namespace, gets a root of its own; the third
gives up its user, its capabilities, its files and most system calls, and runs the code. What the
kernel refuses is noted. Where the network, the files or the other processes would stay open to the
code, it is not run.

It tells by lines of JSON on a pipe. Only a line that holds the nonce counts as a verdict, and the
nonce is told after the tests: code that ends the process before that has not passed. Code that
searches this interpreter for the nonce can find it; a verdict is no proof against fraud.
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

#: Characters of what went wrong.
MAX_REASON = 500
#: Each of these must be kept by at least one of its protections.
NEEDED = {
    "the network": ("own network", "system calls"),
    "the files": ("own root", "Landlock"),
    "the other processes": ("own processes", "system calls"),
}


def main() -> None:
    spec = json.load(sys.stdin.buffer)
    syscalls.die_with_parent()
    # Whatever becomes of the parent, nothing outlives the wall clock.
    signal.alarm(int(spec["seconds"]) + 3)
    kept: list[str] = []
    lost: dict[str, str] = {}
    owner = (os.geteuid(), os.getegid())
    if spec["namespaces"]:
        with _noting(lost, "own network"):
            namespaces.new_namespaces(*owner)
            kept += ["own network", "own processes"]
    _wait_for(lambda: _second(spec, kept, lost, owner))


def _second(
    spec: dict[str, Any], kept: list[str], lost: dict[str, str], owner: tuple[int, int]
) -> None:
    syscalls.die_with_parent()
    target = (spec["uid"], spec["gid"]) if owner[0] == 0 else owner
    if "own network" in kept:
        with _noting(lost, "own root"):
            namespaces.private_root(spec["folder"], target, spec["megabytes"])
            kept.append("own root")
    if "own root" not in kept:
        os.chdir(spec["folder"])
    _wait_for(lambda: _third(spec, kept, lost, target))


def _third(
    spec: dict[str, Any], kept: list[str], lost: dict[str, str], target: tuple[int, int]
) -> None:
    os.dup2(1, 0)
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(target[1], target[1], target[1])
        os.setresuid(target[0], target[0], target[0])
        kept.append("nobody's rights")
    syscalls.drop_capabilities()
    syscalls.die_with_parent()
    syscalls.gain_nothing()
    if "own root" not in kept:
        with _noting(lost, "Landlock"):
            landlock.keep_only(namespaces.interpreter_folders(), ".")
            kept.append("Landlock")
    _limit(spec)
    kept.append("limits")
    with _noting(lost, "system calls"):
        seccomp.refuse_calls()
        kept.append("system calls")
    told = {"kept": kept, "lost": lost}
    open_to = [what for what, by in NEEDED.items() if not set(by) & set(kept)]
    if open_to:
        _tell(spec, told | {"status": "refused", "reason": "open to it: " + ", ".join(open_to)})
        os._exit(0)
    _tell(spec, told)
    _run(spec)


def _limit(spec: dict[str, Any]) -> None:
    seconds = int(spec["cpu_seconds"])
    limits = {
        resource.RLIMIT_CPU: (seconds, seconds + 1),
        resource.RLIMIT_AS: (spec["memory"], spec["memory"]),
        resource.RLIMIT_FSIZE: (spec["file_size"], spec["file_size"]),
        resource.RLIMIT_NOFILE: (32, 32),
        # No process and no thread beside this one.
        resource.RLIMIT_NPROC: (0, 0),
        resource.RLIMIT_CORE: (0, 0),
    }
    for kind, limit in limits.items():
        resource.setrlimit(kind, limit)


def _run(spec: dict[str, Any]) -> None:
    """Run the code, then the tests in the same module; tell, and end without ceremony."""
    write, leave, pipe = os.write, os._exit, spec["pipe"]
    passed = _line(spec, {"status": "passed", "reason": ""})
    module = types.ModuleType("program")
    sys.modules["program"] = module
    sys.argv = ["program"]
    source = {"<code>": spec["code"], "<tests>": spec["tests"]}
    said = passed
    try:
        for name, text in source.items():
            exec(compile(text, name, "exec", dont_inherit=True), module.__dict__)
    except BaseException as error:  # noqa: BLE001 - whatever the code raises is the verdict
        said = _line(spec, {"status": "failed", "reason": _reason(error, source)})
    write(pipe, said)
    leave(0)


def _reason(error: BaseException, source: dict[str, str]) -> str:
    """The error in one line, with the line of the tests or the code where it arose."""
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


def _tell(spec: dict[str, Any], what: dict[str, Any]) -> None:
    os.write(spec["pipe"], _line(spec, what))


def _line(spec: dict[str, Any], what: dict[str, Any]) -> bytes:
    return json.dumps(what | {"nonce": spec["nonce"]}).encode() + b"\n"


class _noting(contextlib.AbstractContextManager[None]):  # noqa: N801 - reads as a statement
    """Notes why the kernel refused a protection, and goes on without it."""

    def __init__(self, lost: dict[str, str], what: str) -> None:
        self._lost, self._what = lost, what

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if isinstance(error, OSError):
            self._lost[self._what] = str(error)
            return True
        return False


def _wait_for(stage: Any) -> None:
    """Run `stage` in a child, and end as it ends: with its exit status, or 128 and its signal."""
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
