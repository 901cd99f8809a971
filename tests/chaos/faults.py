"""Faults: each asserts that it happened, holds while its `with` block runs, and is lifted after.

Lifting is what an operator or a supervisor would do: start the process again, on the same data.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

from tests.chaos.record import UNDISPATCHED
from tests.chaos.site import ChaosSite, end_at_once
from tests.chaos.stages import Load
from tests.provision.process import running
from tests.provision.rabbitmq import listens


@dataclass(frozen=True)
class Happened:
    """What was seen to happen."""

    seen: str
    #: Recovery shows when one of these participants finishes a generation; without a name, when
    #: anything is recorded.
    victims: tuple[str, ...] = ()


Operation = Callable[[Load], Generator[Happened]]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A named way of breaking a site."""

    name: str
    happening: Callable[[Load], AbstractContextManager[Happened]]
    #: At which stages of the queries it is injected.
    stages: tuple[str, ...]
    #: How long it stays before it is lifted (seconds).
    hold: float
    #: Queries may go on without somebody or end without an answer; they end all the same.
    degrades: bool
    #: Why it cannot be injected here; None where it can.
    missing: Callable[[], str | None]
    #: The database's data must be on a small disk.
    small_disk: bool
    #: Options of the asks, beside the participants and rounds.
    asked_with: Mapping[str, Any]
    #: Processes that end by themselves are started again.
    supervised: bool
    #: Of a site of its own.
    variables: Mapping[str, str]

    @property
    def site(self) -> tuple[object, ...]:
        """What kind of site it needs: faults with equal ones can share it."""
        return self.small_disk, *sorted(self.variables.items())


#: By name, in the order of the table.
FAULTS: dict[str, Fault] = {}


def fault(
    name: str,
    *stages: str,
    hold: float = 0.0,
    degrades: bool = False,
    missing: Callable[[], str | None] = lambda: None,
    small_disk: bool = False,
    asked_with: Mapping[str, Any] | None = None,
    supervised: bool = False,
    variables: Mapping[str, str] | None = None,
) -> Callable[[Operation], Operation]:
    """Register a generator that injects, yields what it saw, and lifts."""

    def register(operation: Operation) -> Operation:
        FAULTS[name] = Fault(
            name=name,
            happening=contextmanager(operation),
            stages=stages,
            hold=hold,
            degrades=degrades,
            missing=missing,
            small_disk=small_disk,
            asked_with=asked_with or {},
            supervised=supervised,
            variables=variables or {},
        )
        return operation

    return register


def kill(site: ChaosSite, name: str) -> int:
    """SIGKILL a process of the site and see that it is dead; its number."""
    child = site.children[name]
    assert child.alive, f"{name} was dead before"
    end_at_once(child)
    assert not running(child.pid)
    return child.pid


def kill_broker(site: ChaosSite) -> None:
    """SIGKILL RabbitMQ and see that its port is closed."""
    pids = site.rabbitmq.processes
    assert pids
    site.rabbitmq.kill()
    assert not any(map(running, pids))
    assert not listens(site.rabbitmq.port)


def kill_database(site: ChaosSite) -> None:
    """SIGKILL the postmaster and its backends, and see that the port is closed."""
    pids = site.postgres.processes
    assert pids
    site.postgres.kill()
    assert not any(map(running, pids))
    assert not listens(site.postgres.port)


@fault("kill one of two coordinators", "accepting", "drafting", "synthesizing", "refining")
def _one_coordinator(load: Load) -> Generator[Happened]:
    pid = kill(load.site, "coordinator-1")
    yield Happened(f"coordinator {pid} dead")
    load.site.launch("coordinator-1")


@fault("kill all coordinators", "accepting", "drafting", "synthesizing", "refining")
def _all_coordinators(load: Load) -> Generator[Happened]:
    pids = [kill(load.site, name) for name in ("coordinator-1", "coordinator-2")]
    yield Happened(f"coordinators {pids} dead")
    for name in ("coordinator-1", "coordinator-2"):
        load.site.launch(name)


@fault("kill coordinators between commit and publish", "drafting")
def _between_commit_and_publish(load: Load) -> Generator[Happened]:
    """What the last one publishes is held back on its way, while its commits get through."""
    site, proxy = load.site, load.site.broker_proxies["coordinator-2"]
    kill(site, "coordinator-1")
    proxy.hold(down=False)
    counts = [0]

    def committed_and_not_published() -> bool:
        # Marks lag by a tenth of a second: what stays unmarked for two seconds is not published.
        counts.append(load.database.count(UNDISPATCHED, load.wave.prefix))
        return counts[-1] > 0 and len(counts) > 40 and len(set(counts[-40:])) == 1

    load.until(committed_and_not_published, "steps that are committed and not published")
    assert proxy.held_bytes > 0
    kill(site, "coordinator-2")
    proxy.reset()
    proxy.release()
    stranded = load.database.count(UNDISPATCHED, load.wave.prefix)
    assert stranded > 0
    yield Happened(f"{stranded} steps committed and not published")
    for name in ("coordinator-1", "coordinator-2"):
        site.launch(name)


@fault("kill the server in mid-batch", "synthesizing")
def _server(load: Load) -> Generator[Happened]:
    held = load.caught("synthesize", "server-main", at_least=2)
    kill(load.site, "server-main")
    yield Happened(f"{held} syntheses were under way", ("main",))
    load.site.launch("server-main")


@fault("kill one of two processes of a client", "drafting", "refining")
def _one_client_process(load: Load) -> Generator[Happened]:
    held = load.caught("", "client-ada-1")
    kill(load.site, "client-ada-1")
    yield Happened(f"{held} steps were under way", ("ada",))
    load.site.launch("client-ada-1")


@fault("kill the only process of a client", "drafting", "refining")
def _client(load: Load) -> Generator[Happened]:
    held = load.caught("", "client-bo")
    kill(load.site, "client-bo")
    yield Happened(f"{held} steps were under way", ("bo",))
    load.site.launch("client-bo")


@fault("kill every participant", "drafting", "synthesizing", "refining")
def _participants(load: Load) -> Generator[Happened]:
    held = load.caught("", at_least=2)
    names = [name for name in load.site.children if not name.startswith("coordinator")]
    for name in names:
        kill(load.site, name)
    yield Happened(f"{held} steps were under way in {len(names)} processes", ("ada", "bo", "main"))
    for name in names:
        load.site.launch(name)


@fault("kill the broker", "accepting", "drafting", "synthesizing", "refining")
def _broker(load: Load) -> Generator[Happened]:
    kill_broker(load.site)
    yield Happened(f"port {load.site.rabbitmq.port} closed")
    load.site.rabbitmq.start()


@fault("kill the database", "accepting", "drafting", "synthesizing", "refining")
def _database(load: Load) -> Generator[Happened]:
    kill_database(load.site)
    yield Happened(f"port {load.site.postgres.port} closed")
    load.site.postgres.start()


@fault("kill a coordinator and the broker", "drafting", "refining")
def _coordinator_and_broker(load: Load) -> Generator[Happened]:
    pid = kill(load.site, "coordinator-1")
    kill_broker(load.site)
    yield Happened(f"coordinator {pid} dead, port {load.site.rabbitmq.port} closed")
    load.site.rabbitmq.start()
    load.site.launch("coordinator-1")


@fault("kill the server and the database", "synthesizing")
def _server_and_database(load: Load) -> Generator[Happened]:
    held = load.caught("synthesize", "server-main")
    kill(load.site, "server-main")
    kill_database(load.site)
    yield Happened(f"{held} syntheses were under way, port closed", ("main",))
    load.site.postgres.start()
    load.site.launch("server-main")
