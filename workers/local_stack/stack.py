"""`colm up`: every process of a site on this machine, supervised.

    embedded broker (unless settings name one) -> migrations -> coordinator, servers, clients

Participants with equal engine settings share one process and one copy of the weights. Each process
has a log file. While the stack runs, `stack.json` in its home holds the broker and database URLs
for other shells.
"""

from __future__ import annotations

import json
import logging
import os
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
from colm.workers.local_stack.lock_file import acquire_lock_file
from colm.workers.local_stack.log_rotation import rotate
from colm.workers.quickstart_model import QUICKSTART, quickstart_folder
from colm.workers.supervisor import (
    STOP_GRACE,
    SupervisedProcess,
    colm_command,
    stop_processes,
    tail,
)

logger = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Stack:
    """Context manager of a running stack."""

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
        """Restart the processes that have ended. Call it a few times a second."""
        now = time.monotonic()
        if self._broker is not None and not self._broker.alive:
            self.tell("the embedded broker died; starting it again")
            self._broker.start()
        for child in self.children:
            child.watch(now, self.tell)
        self._rotate_logs()

    def _rotate_logs(self) -> None:
        logs = [child.log_path for child in self.children if child.log_path]
        if self._broker is not None:
            logs.append(self._broker.log_path)
        for path in logs:
            rotate(path, self.settings.log.max_bytes, self.settings.log.backups)

    @property
    def broker(self) -> EmbeddedBroker | None:
        """The embedded broker; None if the settings name a broker."""
        return self._broker

    def wait_until_ready(
        self, timeout: float = 180.0, stopped: Callable[[], bool] = lambda: False
    ) -> None:
        """Wait until every queue has a consumer. Raises ColmError with the logs if one has none."""
        deadline = time.monotonic() + timeout
        queues = {q.name for q in topology_of(self.settings).everything()} - {"colm.dead"}
        while missing := queues - queues_with_consumers(queues):
            if stopped():
                return
            self.watch()
            broken = [c for c in self.children if c.restarts >= 3]
            if broken or time.monotonic() > deadline:
                logs = "\n".join(f"{c.name}: {tail(c.log_path)}" for c in broken or self.children)
                raise ColmError(f"no process consumes {list_names(sorted(missing))}\n{logs}")
            time.sleep(0.1)

    def _start(self) -> None:
        settings = self.settings
        if settings.broker is None:
            self._broker = EmbeddedBroker(settings.home, socket_path=broker_socket(settings.home))
            self._broker.start()
        self._write_stack_file()
        migrate.upgrade(settings.database_url)
        engines = [p.engine for p in (*settings.clients.values(), *settings.servers.values())]
        if any(e.local and e.model == QUICKSTART for e in engines):
            quickstart_folder(settings.cache, self.tell)  # once, rather than in every process
        logs = settings.home / "logs"
        make_private(logs)
        environment = environment_with(
            COLM_BROKER=settings.broker_url,
            COLM_DATABASE=settings.database_url,
            COLM_HOME=str(settings.home),
            PYTHONUNBUFFERED="1",
        )
        for name, arguments in commands(settings):
            child = SupervisedProcess(
                name=name,
                command=colm_command(*arguments),
                log_path=logs / f"{name}.log",
                environment=environment,
                umask=0o077,  # the record, the logs and the cache are this user's alone
            )
            self.children.append(child)
            child.start(time.monotonic())

    def _write_stack_file(self) -> None:
        path = stack_file(self.settings.home)
        stack = this_stack(self.settings.broker_url, self.settings.database_url)
        unfinished = path.with_suffix(".new")  # other shells may read the file at any moment
        with open(unfinished, "w", opener=_private) as file:
            json.dump(stack, file)
        unfinished.replace(path)

    def _stop(self) -> None:
        stop_processes(self.children, self.settings.limits.shutdown_grace + STOP_GRACE)
        self.children.clear()
        if self._broker is not None:
            self._broker.stop()
        stack_file(self.settings.home).unlink(missing_ok=True)
        if self._lock is not None:
            self._lock.close()


def commands(settings: Settings) -> Iterator[tuple[str, list[str]]]:
    """The name and the `colm` arguments of every process of a site, participants by engine."""
    yield "coordinator", ["coordinator"]
    yield "evaluator", ["evaluator"]
    groups = [("server", group) for group in by_engine(settings.servers)]
    groups += [("client", group) for group in by_engine(settings.clients)]
    threads = max(1, (os.cpu_count() or 1) // max(1, len(groups)))
    names = join_groups([[role, *group] for role, group in groups])
    for name, (role, group) in zip(names, groups, strict=True):
        yield name, [role, *group, "--threads", str(threads)]


def by_engine(table: Mapping[str, ParticipantSettings]) -> list[list[str]]:
    """The participants in groups, one for each engine, in the order of the table.

    Participants whose engines differ only in their adapters share one.
    """
    groups: dict[EngineSettings, list[str]] = {}
    for name, participant in table.items():
        groups.setdefault(participant.engine.shared, []).append(name)
    return list(groups.values())


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
