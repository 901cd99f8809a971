"""A whole site to be broken: services of its own, two coordinators, a server, two clients, a load.

Every process is a real `colm` command. Some reach their services through a proxy, whose network can
be cut. The engines are scripted and take `DELAY` seconds, so that steps really are in flight.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import pika

from colm.db.schema import migrate
from colm.workers.experiments.network_proxy import NetworkProxy
from tests.chaos.journal import Journal
from tests.chaos.record import Database
from tests.journeys.site import COLM, REPOSITORY, Site
from tests.provision import PostgresServer, RabbitMQServer, ServiceBroken
from tests.provision.process import Child
from tests.provision.vhosts import VirtualHosts

#: Seconds that a generation takes.
DELAY = 0.4
#: Without two signs of life, each within this, RabbitMQ takes a worker for dead (seconds).
HEARTBEAT = 5
#: Far above what a step takes here, so that a step that was lost shows as an expired one.
PATIENCE = 300
#: The account of CoLM's processes in the database, with no right to change its tables' shape.
ROLE = "colm"
#: Which processes there are: their names, and the `colm` command of each.
PROCESSES = {
    "coordinator-1": ("coordinator",),
    "coordinator-2": ("coordinator",),
    "server-main": ("server", "main"),
    "client-ada-1": ("client", "ada"),
    "client-ada-2": ("client", "ada"),
    "client-bo": ("client", "bo"),
}
#: Who reaches the broker through a proxy of its own; coordinator-2 the database, too.
BEHIND_PROXY = ("coordinator-2", "server-main", "client-bo")

TOML = """\
broker = "{broker}"
database = "{database}"
home = "{home}"
[limits]
heartbeat = {heartbeat}
no_consumer_timeout = 30
[log]
level = "debug"

[deadlines]
draft = {patience}
synthesize = {patience}
refine = {patience}
query = 1200
"""
ENGINE = """
[{role}s.{name}]
[{role}s.{name}.engine]
kind = "scripted"
model = "{name}"
reply = "{name} has read: {{last}}"
delay = {delay}
max_num_seqs = 8
"""
#: What ends the id, and so the question, of a query that the clients' engines do not survive.
DIES, HANGS = "-dies", "-hangs"
DEADLY = f"""\
crash_on = "{DIES} about?"
stall_on = "{HANGS} about?"
"""


@dataclass(frozen=True)
class Wave:
    """The queries that are in flight while one fault happens; `prefix` begins all their ids."""

    prefix: str
    count: int
    caller: Child
    accepted_log: Path
    #: What ends the id of the one query that is to blame; empty where there is none.
    suffix: str
    #: Ids of queries that were cancelled.
    cancelled: list[str] = field(default_factory=list)

    @property
    def asked(self) -> bool:
        """Whether all of it is accepted."""
        return len(self.accepted) == self.count

    @property
    def suspects(self) -> list[str]:
        """The ids of queries that are not expected to be answered."""
        to_blame = (i for i in self.accepted if self.suffix and i.endswith(self.suffix))
        return [*to_blame, *self.cancelled]

    @property
    def accepted(self) -> list[str]:
        """The ids that the caller was told are accepted."""
        return self.accepted_log.read_text().split() if self.accepted_log.exists() else []


class ChaosSite(Site):
    """Use as a context manager: everything up on entry, and down on exit."""

    def __init__(self, folder: Path, *, small_disk: Path | None = None) -> None:
        """`small_disk`: the database keeps its data there."""
        self.rabbitmq = RabbitMQServer()
        self.postgres = PostgresServer(durable=True, parent=small_disk)
        database = _as(ROLE, self.postgres.url)
        super().__init__(folder, broker=self.rabbitmq.url, database=database)
        self.small_disk = small_disk
        self.children: dict[str, Child] = {}
        self.broker_proxies = {name: _proxy_to(self.rabbitmq.port) for name in BEHIND_PROXY}
        self.database_proxy = _proxy_to(self.postgres.port)
        self._entered = ExitStack()
        self._journal = Journal(folder / "journal")
        #: Whether `tend` starts processes again, and which it did.
        self.supervised = False
        self.deaths: list[str] = []
        self._waves = 0

    def __enter__(self) -> Self:
        with ExitStack() as entered:
            entered.enter_context(self.rabbitmq)
            entered.enter_context(self.postgres)
            for proxy in (*self.broker_proxies.values(), self.database_proxy):
                entered.enter_context(proxy)
            entered.callback(self._end_children)
            migrate.upgrade(self.postgres.url)
            self._grant()
            self._write_settings()
            for name in PROCESSES:
                self.launch(name)
            self.wait_until_read()
            self._entered = entered.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._entered.close()

    def _end_children(self) -> None:
        for child in self.children.values():
            end_at_once(child)

    def _grant(self) -> None:
        database = Database(self.postgres.url)
        password = urlsplit(self.database).password
        database.do(f"CREATE ROLE {ROLE} LOGIN PASSWORD '{password}'")
        database.do(f"GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO {ROLE}")

    def as_worker(self, statement: str) -> None:
        """Run a statement with the rights of CoLM's processes, and no others."""
        Database(self.database).run(statement)

    def _write_settings(self) -> None:
        text = TOML.format(
            broker=self.broker,
            database=self.database,
            home=self.folder / "home",
            heartbeat=HEARTBEAT,
            patience=PATIENCE,
        )
        for role, name in (("server", "main"), ("client", "ada"), ("client", "bo")):
            text += ENGINE.format(role=role, name=name, delay=DELAY)
            text += DEADLY if role == "client" else ""
        tomllib.loads(text)
        (self.folder / "colm.toml").write_text(text)

    # Processes

    def launch(self, name: str, **variables: str) -> Child:
        """Start a process of the site, or start it again. It ends with this one at the latest."""
        command = PROCESSES[name]
        if command[0] != "coordinator":
            journal = str(self.folder / "journal")
            runner = [sys.executable, "-m", "tests.chaos.worker", journal]
        else:
            runner = list(COLM)
        self.children[name] = Child(
            [*runner, *command],
            log=self.folder / f"{name}.log",
            env={**self._environment_of(name), **variables},
        )
        return self.children[name]

    def tend(self) -> None:
        """Start again what has ended by itself, as a supervisor would, while one is wanted."""
        for name, child in list(self.children.items()):
            if self.supervised and not child.alive:
                self.deaths.append(name)
                self.launch(name)

    def _environment_of(self, name: str) -> dict[str, str]:
        found = {**self.environment, "PYTHONPATH": str(REPOSITORY)}
        if name in self.broker_proxies:
            found["COLM_BROKER"] = _through(self.broker, self.broker_proxies[name])
        if name == "coordinator-2":
            found["COLM_DATABASE"] = _through(self.database, self.database_proxy)
        return found

    def pids(self, *names: str) -> set[int]:
        """The numbers of these processes; all but the coordinators' without names."""
        engines = [name for name in self.children if not name.startswith("coordinator")]
        return {self.children[name].pid for name in names or engines}

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def wait_until_read(self, timeout: float = 120) -> None:
        """Until every process of the site reads its queues."""
        wanted = {"colm.ask": 2, "colm.draft.ada": 2, "colm.draft.bo": 1, "colm.synthesize.main": 1}
        self.wait_until(lambda: self._consumers(wanted), timeout)

    def _consumers(self, wanted: dict[str, int]) -> bool:
        for name, child in self.children.items():
            if not child.alive:
                raise ServiceBroken(f"{name} has ended:\n{self.logs()}")
        return all(depth(self.broker, queue)[1] >= n for queue, n in wanted.items())

    # Clocks

    @property
    def _clock_file(self) -> Path:
        return self.folder / "clock"

    def set_clock(self, seconds: int) -> None:
        """Move the clock of the processes that were launched with `clock_variables`."""
        unfinished = self.folder / "clock.new"
        unfinished.write_text(f"{seconds:+d}\n")
        unfinished.replace(self._clock_file)

    def clock_variables(self, library: Path) -> dict[str, str]:
        """What makes a process see that clock; it looks at the file once a second."""
        return {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._clock_file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    # The load

    def ask_many(self, count: int, suffix: str = "", **options: Any) -> Wave:
        """Begin to ask `count` questions in a process of its own, and return at once.

        With `suffix` one of them is a suspect, whose id ends so.
        """
        self._waves += 1
        prefix = f"wave{self._waves:03d}-"
        log = self.folder / f"{prefix}accepted"
        asked = json.dumps({"clients": ["ada", "bo"], "rounds": 1, **options})
        command = [sys.executable, "-m", "tests.chaos.caller", "ask", str(count), prefix, asked]
        caller = Child(
            [*command, log, *([suffix] if suffix else [])],
            log=self.folder / f"{prefix}caller.log",
            env={**self.environment, "PYTHONPATH": str(REPOSITORY)},
        )
        return Wave(prefix, count, caller, log, suffix)

    def interpreter(self, prepare: str) -> Callable[[str], None]:
        """A caller's process that has run `prepare`; what is returned runs one more line in it."""
        code = f"{prepare}\nprint('ready', flush=True)\nexec(input())"
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            env={**self.environment, "PYTHONPATH": str(REPOSITORY)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"

        def run(line: str) -> None:
            process.communicate(f"{line}\n", timeout=120)
            assert process.returncode == 0

        return run

    def read_results(self, query_ids: Iterable[str], timeout: float = 20) -> dict[str, Any]:
        """What the AsyncResults of these ids give to a process that knows nothing else."""
        done = subprocess.run(
            [sys.executable, "-m", "tests.chaos.caller", "read", str(timeout)],
            input=" ".join(query_ids),
            env={**self.environment, "PYTHONPATH": str(REPOSITORY)},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    @property
    def journal(self) -> Journal:
        return self._journal.refresh()

    @property
    def api(self) -> VirtualHosts:
        return VirtualHosts(self.rabbitmq.url, self.rabbitmq.api_url)


def _as(user: str, url: str) -> str:
    parts = urlsplit(url)
    login = f"{user}:{parts.password}"
    return parts._replace(netloc=f"{login}@{parts.hostname}:{parts.port}").geturl()


def _proxy_to(port: int) -> NetworkProxy:
    return NetworkProxy(target=("127.0.0.1", port))


def _through(url: str, proxy: NetworkProxy) -> str:
    parts = urlsplit(url)
    login = parts.netloc.rpartition("@")[0]
    return parts._replace(netloc=f"{login}@127.0.0.1:{proxy.port}").geturl()


def end_at_once(child: Child) -> None:
    """SIGKILL it, also when it is stopped, and see that it is dead."""
    child.end(signal.SIGKILL, timeout=10)
    assert not child.alive


def depth(url: str, queue: str) -> tuple[int, int]:
    """The messages that wait in a queue, and who reads it; (0, 0) while it cannot be asked."""
    try:
        with pika.BlockingConnection(pika.URLParameters(url)) as connection:
            found: Any = connection.channel().queue_declare(queue, passive=True)
            return int(found.method.message_count), int(found.method.consumer_count)
    except (pika.exceptions.AMQPError, OSError):
        return 0, 0


def poll(condition: Callable[[], bool], *, timeout: float, what: str) -> float:
    """Seconds until `condition`; AssertionError says `what` did not happen."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < timeout, f"not within {timeout:g} s: {what}"
        time.sleep(0.05)
    return time.monotonic() - started
