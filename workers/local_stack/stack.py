"""`colm up`: every process of a site on this machine, watched and restarted.

    embedded broker (unless settings name one) -> migrations -> coordinator, servers, clients

Participants that use the same engine settings share one process and one copy of the weights. Each
child writes its own log. While the stack runs, `stack.json` in its home tells other shells which
broker and database to use.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO

from colm.db.schema import migrate
from colm.models.engine_settings import EngineSettings
from colm.models.errors import ColmError
from colm.models.naming import join_groups, list_names
from colm.tasks.broker.queue_stats import queues_with_consumers
from colm.tasks.broker.topology import topology_of
from colm.tasks.config.paths import broker_socket, make_home, make_private
from colm.tasks.config.running_stack import stack_file, stack_lock, this_stack
from colm.tasks.config.settings import ParticipantSettings, Settings, environment_with
from colm.workers.local_stack.embedded_broker import EmbeddedBroker
from colm.workers.local_stack.log_rotation import rotate
from colm.workers.participant.quickstart_model import QUICKSTART, quickstart_folder
from colm.workers.supervisor import STOP_GRACE, SupervisedProcess, _end, acquire_lock_file, tail

logger = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Stack:
    """Use as a context manager: up on entry, down on exit, whatever happened in between."""

    settings: Settings
    tell: Callable[[str], None] = field(default=logger.info)
    children: list[SupervisedProcess] = field(default_factory=list)
    _broker: EmbeddedBroker | None = None
    _lock: IO[bytes] | None = None

    def __enter__(self) -> Stack:
        home = self.settings.home
        make_home(home)
        self._lock = acquire_lock_file(stack_lock(home))
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
        while missing := wanted - queues_with_consumers(wanted):
            if stopped():
                return
            self.watch()
            broken = [c for c in self.children if c.restarts >= 3]
            if broken or time.monotonic() > deadline:
                logs = "\n".join(f"{c.name}: {tail(c.log_path)}" for c in broken or self.children)
                raise ColmError(f"nobody reads {list_names(sorted(missing))}\n{logs}")
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
                SupervisedProcess(
                    name=name, arguments=arguments, log_path=path, environment=environment
                )
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
        deadline = time.monotonic() + self.settings.limits.shutdown_grace + STOP_GRACE
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
    names = join_groups([[role, *group] for role, group in groups])
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
