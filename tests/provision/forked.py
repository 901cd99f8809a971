"""`colm` commands and callers as forked processes: the imports of a hundred starts, paid once."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

#: Imported by the server of forks: the modules that processes of a site import at their start.
PRELOADED = (
    "alembic.command", "celery.apps.worker", "celery.worker.consumer", "kombu.transport.pyamqp",
    "kombu.transport.redis", "sqlalchemy.dialects.postgresql.psycopg2",
    "sqlalchemy.dialects.sqlite.pysqlite", "colm.workers.cli.main",
    "colm.workers.coordinator.process", "colm.workers.participant.process",
    "colm.workers.result_backend", "colm.workers.cli.query_actions",
)  # fmt: skip


@cache
def _server() -> Any:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*PRELOADED, __name__])
    return context


class ForkedProcess:
    """A process with the interface of `subprocess.Popen`, as far as tests use it."""

    def __init__(
        self,
        body: Callable[..., None],
        *arguments: Any,
        env: Mapping[str, str],
        cwd: Path,
        stdout: Path,
        stderr: Path,
    ) -> None:
        self.args = arguments
        for log in (stdout, stderr):
            log.touch(0o600)  # whoever reads it at once finds it
        self._process = _server().Process(
            target=_begin, args=(body, arguments, dict(env), cwd, stdout, stderr)
        )
        self._process.start()
        self.pid: int = self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit status, -N after signal N; None while the process runs."""
        status: int | None = self._process.exitcode
        return status

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit status. Raises subprocess.TimeoutExpired."""
        self._process.join(timeout)
        if (status := self.returncode) is None:
            raise subprocess.TimeoutExpired(str(self.args), timeout or 0.0)
        return status

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def run_colm(arguments: Sequence[str]) -> None:
    """The body of a process that is `colm ARGUMENTS...`."""
    from colm.workers.cli.main import main

    sys.argv = ["colm", *arguments]
    main()


def run_code(code: str) -> None:
    """The body of a process that is `python -W error -c CODE`."""
    warnings.simplefilter("error")
    sys.argv = ["-c"]
    main = sys.modules["__main__"]
    exec(compile(code, "<string>", "exec"), main.__dict__)


def _begin(
    body: Callable[..., None],
    arguments: tuple[Any, ...],
    env: Mapping[str, str],
    cwd: Path,
    stdout: Path,
    stderr: Path,
) -> None:
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    for path, number in ((stdout, 1), (stderr, 2)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(file, number)
        os.close(file)
    try:
        body(*arguments)
    finally:
        atexit._run_exitfuncs()  # multiprocessing leaves them out
