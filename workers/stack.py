"""`colm up`: every process of a site on this machine, watched and restarted.

    embedded broker (unless settings name one) -> migrations -> coordinator, servers, clients

Participants that use the same engine settings share one process and one copy of the weights. Each
child writes its own log. While the stack runs, `stack.json` in its home tells other shells which
broker and database to use.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from db import migrate
from models.engine_settings import EngineSettings
from models.errors import ColmError
from models.naming import joined_apart, listed
from tasks.folders import broker_socket, make_home, make_private
from tasks.inspection import listened_to
from tasks.settings import (
    ParticipantSettings,
    Settings,
    environment_with,
)
from tasks.standing import stack_file, stack_lock, this_stack
from tasks.topology import topology_of
from workers.log_rotation import rotate
from workers.quickstart import QUICKSTART, quickstart_folder
from workers.services import EmbeddedBroker, dying_with_parent, hold_alone, tail

logger = logging.getLogger(__name__)

#: Pauses before a child that died is started again (seconds): the first, and the longest.
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
#: A child that lived this long is healthy: its pause starts anew (seconds).
HEALTHY_AFTER = 60.0
#: How much longer than `limits.shutdown` a child may take to end after SIGTERM (seconds).
STOP_GRACE = 5.0


@dataclass(kw_only=True)
class Child:
    """One process of the stack, restarted when it dies."""

    name: str
    arguments: Sequence[str]
    log_path: Path
    environment: Mapping[str, str]
    process: subprocess.Popen[bytes] | None = None
    restarts: int = 0
    pause: float = FIRST_PAUSE
    started_at: float = 0.0
    start_at: float = 0.0

    def start(self, now: float) -> None:
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "workers", *self.arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(self.environment),
                umask=0o077,  # the record and what else it makes is nobody else's to read
                start_new_session=True,  # Ctrl-C is the supervisor's alone to pass on
                preexec_fn=dying_with_parent(),
            )
        self.started_at = now

    def watch(self, now: float, tell: Callable[[str], None]) -> None:
        """Start it again, after a pause that doubles while it keeps dying."""
        if self.process is None:
            if now >= self.start_at:
                self.start(now)
            return
        code = self.process.poll()
        if code is None:
            return
        if now - self.started_at > HEALTHY_AFTER:
            self.pause = FIRST_PAUSE
        tell(f"{self.name} ended with status {code}; starting it again in {self.pause:g} s")
        tell(tail(self.log_path, 5))
        self.process, self.start_at = None, now + self.pause
        self.restarts += 1
        self.pause = min(2 * self.pause, LONGEST_PAUSE)


@dataclass(kw_only=True)
class Stack:
    """Use as a context manager: up on entry, down on exit, whatever happened in between."""

    settings: Settings
    tell: Callable[[str], None] = field(default=logger.info)
    children: list[Child] = field(default_factory=list)
    _broker: EmbeddedBroker | None = None
    _lock: IO[bytes] | None = None

    def __enter__(self) -> Stack:
        home = self.settings.home
        make_home(home)
        self._lock = hold_alone(stack_lock(home))
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def watch(self) -> None:
        """Look at every child once; call it a few times a second."""
        now = time.monotonic()
        if self._broker is not None and not self._broker.alive:
            self.tell("the embedded broker died; starting it again")
            self._broker.start()
        for child in self.children:
            child.watch(now, self.tell)
        self._rotate_logs()

    def _rotate_logs(self) -> None:
        logs = [child.log_path for child in self.children]
        if self._broker is not None:
            logs.append(self._broker.log_path)
        for path in logs:
            rotate(path, self.settings.log.max_bytes, self.settings.log.backups)

    @property
    def broker(self) -> EmbeddedBroker | None:
        """The broker of this stack; None where the settings name one."""
        return self._broker

    def wait_until_ready(
        self, timeout: float = 180.0, stopped: Callable[[], bool] = lambda: False
    ) -> None:
        """Until every queue has a reader. Raises ColmError that says which has none, and why."""
        deadline = time.monotonic() + timeout
        wanted = {q.name for q in topology_of(self.settings).everything()} - {"colm.dead"}
        while missing := wanted - listened_to(wanted):
            if stopped():
                return
            self.watch()
            broken = [c for c in self.children if c.restarts >= 3]
            if broken or time.monotonic() > deadline:
                logs = "\n".join(f"{c.name}: {tail(c.log_path)}" for c in broken or self.children)
                raise ColmError(f"nobody reads {listed(sorted(missing))}\n{logs}")
            time.sleep(0.1)

    def _start(self) -> None:
        found = self.settings
        if found.broker is None:
            self._broker = EmbeddedBroker(found.home, socket_path=broker_socket(found.home))
            self._broker.start()
        self._write_stack_file()
        migrate.upgrade(found.database_url)
        engines = [p.engine for p in (*found.clients.values(), *found.servers.values())]
        if any(e.local and e.model == QUICKSTART for e in engines):
            quickstart_folder(found.cache, self.tell)  # once, rather than by every child
        logs = found.home / "logs"
        make_private(logs)
        environment = environment_with(
            COLM_BROKER=found.broker_url,
            COLM_DATABASE=found.database_url,
            COLM_HOME=str(found.home),
            PYTHONUNBUFFERED="1",
        )
        for name, arguments in commands(found):
            path = logs / f"{name}.log"
            self.children.append(
                Child(name=name, arguments=arguments, log_path=path, environment=environment)
            )
            self.children[-1].start(time.monotonic())

    def _write_stack_file(self) -> None:
        path = stack_file(self.settings.home)
        told = this_stack(self.settings.broker_url, self.settings.database_url)
        unfinished = path.with_suffix(".new")  # other shells read it at any moment
        with open(unfinished, "w", opener=_private) as file:
            json.dump(told, file)
        unfinished.replace(path)

    def _stop(self) -> None:
        for child in self.children:
            if child.process is not None:
                child.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + self.settings.limits.shutdown + STOP_GRACE
        for child in self.children:
            if child.process is not None:
                _end(child.process, deadline)
        self.children.clear()
        if self._broker is not None:
            self._broker.stop()
        stack_file(self.settings.home).unlink(missing_ok=True)
        if self._lock is not None:
            self._lock.close()


def commands(found: Settings) -> Iterator[tuple[str, list[str]]]:
    """The name and the `colm` arguments of every process of a site, participants by engine."""
    yield "coordinator", ["coordinator"]
    yield "evaluator", ["evaluator"]
    groups = [("server", group) for group in by_engine(found.servers)]
    groups += [("client", group) for group in by_engine(found.clients)]
    threads = max(1, (os.cpu_count() or 1) // max(1, len(groups)))
    names = joined_apart([[role, *group] for role, group in groups])
    for name, (role, group) in zip(names, groups, strict=True):
        yield name, [role, *group, "--threads", str(threads)]


def by_engine(table: Mapping[str, ParticipantSettings]) -> list[list[str]]:
    """The participants in groups, one for each engine, in the order of the table."""
    groups: dict[EngineSettings, list[str]] = {}
    for name, participant in table.items():
        groups.setdefault(participant.engine, []).append(name)
    return list(groups.values())


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _end(process: subprocess.Popen[bytes], deadline: float) -> None:
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(max(0.1, deadline - time.monotonic()))
        return
    process.kill()
    process.wait()
