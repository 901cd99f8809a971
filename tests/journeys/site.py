"""A whole site of real processes for one test: settings, coordinator, servers, clients, callers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from colm.db.connection import connect
from colm.db.reads import answers, history
from colm.workers.console import to_json_value
from tests.provision.forked import ForkedProcess, run_code, run_colm

COLM = [sys.executable, "-m", "colm.workers"]
PYTHON = [sys.executable, "-W", "error", "-c"]
REPOSITORY = Path(__file__).parents[2]

TOML = """\
broker = "{broker}"
database = "{database}"
home = "{home}"

[servers.main.engine]
kind = "scripted"
reply = "ada, bo: look again"

[deadlines]
{deadlines}

[limits]
no_consumer_timeout = 20
"""

CLIENT_TOML = """
[clients.{name}]
persona = "You are {name}."
domain = "the field of {name}"
[clients.{name}.engine]
kind = "scripted"
reply = "client says: {{last}}"
delay = {delay}
"""

DEADLINES = {"select": 20.0, "draft": 20.0, "synthesize": 20.0, "refine": 20.0, "query": 60.0}


class Site:
    """Starts and kills the processes of a site; every one is a real `colm` command."""

    def __init__(self, folder: Path, *, broker: str, database: str) -> None:
        self.folder = folder
        self.broker = broker
        self.database = database
        self.processes: dict[str, ForkedProcess | subprocess.Popen[bytes]] = {}
        #: Set in the environment of every process that is started from now on.
        self.variables: dict[str, str] = {"COLM_LOG__LEVEL": "debug"}

    def configure(self, *clients: str, delay: float = 0, **deadlines: float) -> None:
        """Write colm.toml: scripted clients that reply after `delay`, and deadlines (seconds)."""
        lines = [f"{stage} = {limit}" for stage, limit in {**DEADLINES, **deadlines}.items()]
        text = TOML.format(
            broker=self.broker,
            database=self.database,
            home=self.folder / "home",
            deadlines="\n".join(lines),
        )
        text += "".join(CLIENT_TOML.format(name=name, delay=delay) for name in clients)
        tomllib.loads(text)
        (self.folder / "colm.toml").write_text(text)

    @property
    def environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("COLM_")}
        return {**kept, "COLM_CONFIG": str(self.folder / "colm.toml"), "NO_COLOR": "1"} | (
            self.variables
        )

    def start(self, *arguments: str, known_as: str | None = None) -> None:
        """Start `colm ARGUMENTS...`; its output goes to a log in the site's folder."""
        name = known_as or "-".join(arguments)
        path = self.folder / f"{name}.log"
        self.processes[name] = self._begin(run_colm, arguments, stdout=path, stderr=path)

    def _begin(
        self, body: Callable[..., None], argument: Any, *, stdout: Path, stderr: Path
    ) -> ForkedProcess | subprocess.Popen[bytes]:
        # The children of `colm up` are fresh interpreters; coverage starts in those alone.
        if not ("coverage" in sys.modules or argument[0] == "up"):
            return ForkedProcess(
                body, argument, env=self.environment, cwd=self.folder, stdout=stdout, stderr=stderr
            )
        command = [*COLM, *argument] if body is run_colm else [*PYTHON, argument]
        env = {**self.environment, "PYTHONPATH": str(REPOSITORY)}
        with stdout.open("ab") as out, stderr.open("ab") as err:
            return subprocess.Popen(command, env=env, stdout=out, stderr=err, cwd=self.folder)

    def _run(
        self, body: Callable[..., None], argument: Any, timeout: float
    ) -> tuple[int, str, str]:
        """Run a forked process to its end: its exit status and what it wrote."""
        with tempfile.TemporaryDirectory() as folder:
            out, err = Path(folder, "out"), Path(folder, "err")
            process = self._begin(body, argument, stdout=out, stderr=err)
            try:
                status = process.wait(timeout)
            finally:
                process.kill()
            return status, out.read_text(), err.read_text()

    def start_all(self, *clients: str) -> None:
        """A coordinator, the server, and one process for these clients."""
        self.start("coordinator")
        self.start("server", "main")
        self.start("client", *clients)

    def kill(self, *arguments: str) -> None:
        """SIGKILL the process and see that it is dead."""
        process = self.processes.pop("-".join(arguments))
        process.kill()
        assert process.wait(10) == -signal.SIGKILL

    def stop(self, *arguments: str, within: float = 20) -> int:
        """SIGTERM the process; its exit status."""
        process = self.processes.pop("-".join(arguments))
        process.terminate()
        return process.wait(within)

    def close(self) -> None:
        for process in self.processes.values():
            process.kill()
        for process in self.processes.values():
            process.wait(10)

    def colm(self, *arguments: str, status: int = 0, timeout: float = 90) -> str:
        """Run `colm ARGUMENTS...` to its end; its standard output."""
        ended, out, err = self._run(run_colm, arguments, timeout)
        assert ended == status, f"{arguments}: {out}\n{err}"
        return out if status == 0 else err

    def status_and_output(self, *arguments: str, timeout: float = 90) -> tuple[int, str]:
        """Run `colm ARGUMENTS...` to its end, well or not; its exit status and standard output."""
        status, out, _ = self._run(run_colm, arguments, timeout)
        return status, out

    def python(self, code: str, timeout: float = 90) -> Any:
        """Run `code` as a caller's own process; what it prints last, read as JSON."""
        status, out, err = self._run(run_code, code, timeout)
        assert status == 0, f"{out}\n{err}\n{self.logs()}"
        return json.loads(out.strip().splitlines()[-1])

    def ask(self, question: str, options: Mapping[str, Any], timeout: float = 120) -> Any:
        """The answer of `tasks.ask.delay(question, **options).get()` in a process of its own."""
        return self.python(
            "import json\nfrom colm.tasks import ask\n"
            f"answer = ask.delay({question!r}, **{dict(options)!r}).get(timeout={timeout})\n"
            "print(json.dumps(answer))"
        )

    def submit(self, question: str, options: Mapping[str, Any]) -> str:
        """Ask without waiting; the query's id."""
        return str(
            self.python(
                "import json\nfrom colm.tasks import ask\n"
                f"print(json.dumps(ask.delay({question!r}, **{dict(options)!r}).id))"
            )
        )

    def result(self, query_id: str, timeout: float = 120) -> Any:
        """The answer to a query asked before, by a process that knows only its id."""
        return self.python(
            "import json\nfrom colm.tasks import ask\n"
            f"print(json.dumps(ask.AsyncResult({query_id!r}).get(timeout={timeout})))"
        )

    def error_of(self, expression: str) -> tuple[str, str]:
        """The name and text of the error that `expression` (which may use `ask`) raises."""
        name, text = self.python(
            "import json\nfrom colm.tasks import ask\n"
            f"try:\n    {expression}\n"
            "except Exception as error:\n"
            "    print(json.dumps([type(error).__name__, str(error)]))"
        )
        return name, text

    @contextmanager
    def record(self) -> Iterator[Engine]:
        """The record, to be read in this process: a `colm` takes a second to start."""
        engine = connect(self.database)
        try:
            yield engine
        finally:
            engine.dispose()

    def life(self, query_id: str) -> Any:
        """The whole recorded life of a query, as `colm show --json` has it."""
        with self.record() as engine:
            found = history.query_history(engine, query_id)
        assert found is not None, f"no query {query_id}\n{self.logs()}"
        return to_json_value(found)

    def steps(self, query_id: str, kind: str) -> list[str]:
        """The decided steps whose name holds `kind`; none while the query is not recorded."""
        if query_id not in self.statuses():
            return []
        return [step for step in outcomes(self.life(query_id)) if kind in step]

    def statuses(self) -> dict[str, str]:
        """Each query's status: open, answered, failed or refused."""
        with self.record() as engine:
            return {one.query_id: one.status for one in answers.recent_queries(engine, 1_000)}

    def wait_until(self, condition: Callable[[], bool], timeout: float = 120) -> None:
        looked = time.monotonic()
        deadline = looked + timeout
        while not condition():
            assert time.monotonic() < deadline, f"it did not come to be\n{self.logs()}"
            # A look that starts processes is not to take a core that the site needs.
            time.sleep(max(0.2, time.monotonic() - looked))
            looked = time.monotonic()

    def logs(self) -> str:
        parts = []
        for path in sorted(self.folder.glob("*.log")):
            lines = path.read_text(errors="replace").splitlines()[-15:]
            parts.append("\n".join([f"--- {path.name}", *lines]))
        return "\n".join(parts)


def outcomes(life: Any) -> dict[str, str]:
    """Each step's act and participant with the status that decided it."""
    found = {}
    for entry in life["entries"]:
        what = entry["what"]
        if "outcome" in what and what["outcome"]["status"] != "late":
            _, number, act, by, _ = what["step_id"].rsplit(".", 4)
            found[f"{number}.{act}.{by}"] = what["outcome"]["status"]
    return found
