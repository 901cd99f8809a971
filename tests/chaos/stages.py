"""How far a wave has come: a fault is injected at a stage, not at a time."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import psycopg2

from tests.chaos.record import ENDED, RECORDED, Database
from tests.chaos.site import ChaosSite, Wave, poll

#: Until a wave has come to a stage, whatever else the machine does (seconds).
STAGE_WITHIN = 120


@dataclass(frozen=True, kw_only=True)
class Load:
    """A wave on its site: what a fault can look at."""

    site: ChaosSite
    database: Database
    wave: Wave

    def until(self, condition: Callable[[], bool], what: str, timeout: float = 120) -> float:
        """Seconds until `condition`, which may be unknown while the database is away."""

        def holds() -> bool:
            self.site.tend()
            with suppress(psycopg2.OperationalError):
                return condition()
            return False

        return poll(holds, timeout=timeout, what=what)

    def caught(self, act: str, *names: str, at_least: int = 1) -> int:
        """Wait until these processes are in the middle of generations of `act`; how many."""
        pids, found = self.site.pids(*names), 0

        def in_flight() -> bool:
            nonlocal found
            found = self.site.journal.in_flight(pids, act)
            return found >= at_least

        self.until(in_flight, f"{names or 'an engine'} in mid-{act}")
        return found


def _accepting(load: Load) -> bool:
    """Coordinators are at work on asks, others wait."""
    return load.database.count(RECORDED, load.wave.prefix) >= load.wave.count / 10


def _in_mid(act: str, of_each: int) -> Callable[[Load], bool]:
    """Everything is asked, a tenth of the steps of this act are decided, others are under way."""

    def reached(load: Load) -> bool:
        if not load.wave.asked:
            return False
        decided = load.database.decided(load.wave.prefix, act=act)
        running = load.site.journal.in_flight(load.site.pids(), act)
        return running > 0 and decided >= of_each * load.wave.count / 10

    return reached


#: In the order in which a query passes them.
STAGES: dict[str, Callable[[Load], bool]] = {
    "accepting": _accepting,
    "drafting": _in_mid("draft", 2),
    "synthesizing": _in_mid("synthesize", 1),
    "refining": _in_mid("refine", 2),
}


def reach(load: Load, stage: str) -> None:
    """Wait until the wave has come to `stage`."""

    def reached() -> bool:
        ended = load.database.count(ENDED, load.wave.prefix)
        assert ended < load.wave.count, f"{load.wave.prefix} was through before {stage} was seen"
        return STAGES[stage](load)

    load.until(reached, f"{stage} of {load.wave.prefix}", STAGE_WITHIN)
