"""Workers that are stopped, frozen, or wrong about the time, and come back."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Generator
from datetime import datetime

from tests.chaos.clock import library, why_none
from tests.chaos.faults import Happened, fault, kill
from tests.chaos.faults_network import NOTICED_WITHIN
from tests.chaos.record import ENDED, LATE
from tests.chaos.site import depth, poll
from tests.chaos.stages import Load
from tests.provision.process import state

#: How far a clock jumps, either way (seconds): within a step's deadline, far beyond a tick.
JUMP = 45


def _freeze(load: Load, name: str) -> int:
    """SIGSTOP a process and see that it is stopped; its number."""
    pid = load.site.children[name].pid
    os.kill(pid, signal.SIGSTOP)
    poll(lambda: state(pid) == "T", timeout=5, what=f"{name} is stopped")
    return pid


def _thaw(pid: int) -> None:
    os.kill(pid, signal.SIGCONT)
    poll(lambda: state(pid) != "T", timeout=5, what=f"process {pid} goes on")


def _until_given_up(load: Load, queue: str, left: int) -> float:
    return load.until(
        lambda: depth(load.site.broker, queue)[1] == left,
        f"the broker gives a reader of {queue} up",
        NOTICED_WITHIN,
    )


@fault("freeze a server until it is taken for dead", "synthesizing")
def _frozen_server(load: Load) -> Generator[Happened]:
    held = load.caught("synthesize", "server-main", at_least=2)
    pid = _freeze(load, "server-main")
    after = _until_given_up(load, "colm.synthesize.main", 0)
    yield Happened(f"{held} syntheses were under way; given up after {after:.0f} s", ("main",))
    _thaw(pid)


@fault("freeze a client while another process does its steps", "drafting", "refining")
def _frozen_client(load: Load) -> Generator[Happened]:
    held = load.caught("", "client-ada-1")
    pid = _freeze(load, "client-ada-1")
    after = _until_given_up(load, "colm.draft.ada", 1)
    yield Happened(f"{held} steps were under way; given up after {after:.0f} s", ("ada",))
    _thaw(pid)


@fault("freeze a coordinator until it is taken for dead", "drafting", "refining")
def _frozen_coordinator(load: Load) -> Generator[Happened]:
    pid = _freeze(load, "coordinator-1")
    after = _until_given_up(load, "colm.submissions", 1)
    yield Happened(f"coordinator {pid} stopped; given up after {after:.0f} s")
    _thaw(pid)


@fault(
    "freeze a client beyond the deadline",
    "drafting",
    degrades=True,
    asked_with={"deadline": 60},
)
def _beyond_the_deadline(load: Load) -> Generator[Happened]:
    """It comes back when every query has ended: its drafts are kept as late and change nothing."""
    held = load.caught("draft", "client-bo")
    pid = _freeze(load, "client-bo")
    wave = load.wave
    load.until(lambda: load.database.count(ENDED, wave.prefix) == wave.count, "every end", 200)
    _thaw(pid)
    load.until(lambda: load.database.count(LATE, wave.prefix) > 0, "a late draft")
    yield Happened(f"{held} drafts were under way", ("bo",))


@fault("stop every process politely, one after another", "drafting", "refining")
def _rolling_restart(load: Load) -> Generator[Happened]:
    took = []
    for name, child in list(load.site.children.items()):
        began = time.monotonic()
        os.kill(child.pid, signal.SIGTERM)
        poll(lambda c=child: not c.alive, timeout=30, what=f"{name} ends on SIGTERM")  # type: ignore[misc]  # a loop's own value
        took.append(time.monotonic() - began)
        assert child.status == 0, f"{name} ended with {child.status}"
        load.site.launch(name)
    yield Happened(f"{len(took)} processes ended within {max(took):.1f} s")


def _jump(load: Load, seconds: int, direction: str) -> None:
    """Set the clock of coordinator-2, which runs, and see in its log that it did."""
    load.site.set_clock(seconds)
    sign = 1 if direction == "ahead" else -1
    load.until(
        lambda: sign * _ahead(load.site.log("coordinator-2")) > JUMP / 2,
        f"coordinator-2's clock is {direction}",
    )


def _ahead(log: str) -> float:
    """How far the clock of the last line of a log is ahead of ours (seconds)."""
    stamp = next(line[:19] for line in reversed(log.splitlines()) if line[:2] == "20")
    told = datetime.strptime(stamp, "%Y-%m-%d %H:%M:%S")  # noqa: DTZ007  # logs tell local time
    return told.timestamp() - time.time()


@fault("a coordinator's clock jumps ahead, then back", "accepting", hold=2, missing=why_none)
def _clock(load: Load) -> Generator[Happened]:
    site = load.site
    kill(site, "coordinator-2")
    site.set_clock(0)
    site.launch("coordinator-2", **site.clock_variables(library()))
    load.until(lambda: depth(site.broker, "colm.submissions")[1] == 2, "coordinator-2 is back")
    _jump(load, JUMP, "ahead")
    _jump(load, -JUMP, "behind")
    yield Happened(f"clock {JUMP} s ahead, then {JUMP} s behind")
    kill(site, "coordinator-2")
    site.launch("coordinator-2")
