"""Cuts of the network: a worker that nobody kills, and that reaches nobody."""

from __future__ import annotations

from collections.abc import Generator

from colm.db.connection import LOCK_TIMEOUT_S
from tests.chaos.faults import Happened, fault
from tests.chaos.site import HEARTBEAT, depth
from tests.chaos.stages import Load

#: How long PostgreSQL lets a silent transaction keep its locks (seconds).
LOCKS_KEPT = LOCK_TIMEOUT_S
#: RabbitMQ takes a silent connection for dead within two to three heartbeats (seconds).
NOTICED_WITHIN = 12 * HEARTBEAT


def _cut_off(load: Load, name: str, queue: str, left: int) -> float:
    """Let no byte through between a worker and the broker until the broker gives it up."""
    proxy = load.site.broker_proxies[name]
    assert proxy.connections > 0
    proxy.hold()
    given_up = load.until(
        lambda: depth(load.site.broker, queue)[1] == left,
        f"the broker gives {name} up",
        NOTICED_WITHIN,
    )
    assert load.site.children[name].alive
    assert proxy.held_bytes > 0
    return given_up


@fault("cut a server off from the broker, silently", "synthesizing")
def _silent_server(load: Load) -> Generator[Happened]:
    held = load.caught("synthesize", "server-main", at_least=2)
    after = _cut_off(load, "server-main", "colm.synthesize.main", 0)
    yield Happened(f"{held} syntheses were under way; given up after {after:.0f} s", ("main",))
    load.site.broker_proxies["server-main"].release()


@fault("cut a client off from the broker, silently", "drafting", "refining")
def _silent_client(load: Load) -> Generator[Happened]:
    held = load.caught("", "client-bo")
    after = _cut_off(load, "client-bo", "colm.draft.bo", 0)
    yield Happened(f"{held} steps were under way; given up after {after:.0f} s", ("bo",))
    load.site.broker_proxies["client-bo"].release()


@fault("cut a coordinator off from the broker, silently", "drafting")
def _silent_coordinator(load: Load) -> Generator[Happened]:
    after = _cut_off(load, "coordinator-2", "colm.submissions", 1)
    yield Happened(f"given up after {after:.0f} s")
    load.site.broker_proxies["coordinator-2"].release()


@fault("reset the connections of a worker", "drafting", "refining")
def _reset(load: Load) -> Generator[Happened]:
    held = load.caught("", "client-bo")
    lost = load.site.log("client-bo").count("Connection to broker lost")
    broken = load.site.broker_proxies["client-bo"].reset()
    assert broken > 0
    load.until(
        lambda: load.site.log("client-bo").count("Connection to broker lost") > lost,
        "the client notices that its connection is gone",
    )
    yield Happened(f"{broken} connections reset, {held} steps under way", ("bo",))


@fault("cut a coordinator off from the database, silently", "drafting", hold=LOCKS_KEPT + 5)
def _silent_database(load: Load) -> Generator[Happened]:
    proxy = load.site.database_proxy
    assert proxy.connections > 0
    proxy.hold()
    load.until(lambda: proxy.held_bytes > 0, "something held back")
    yield Happened(f"{proxy.connections} connections silent")
    proxy.release()
