"""One fault on one wave of queries, and what it came to: a row of the table."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.chaos.faults import Fault, Happened
from tests.chaos.record import ANSWERS, ENDED, LATE, NOW, STATUSES, Database, Wrong
from tests.chaos.site import PATIENCE, ChaosSite, depth
from tests.chaos.stages import Load, reach

#: Until every query of a wave has ended, whatever else the machine does (seconds).
END_WITHIN = PATIENCE + 60
QUEUES = (
    "colm.ask", "colm.submissions", "colm.synthesize.main", "colm.draft.ada", "colm.refine.ada",
    "colm.draft.bo", "colm.refine.bo",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Row:
    """What one injection of a fault came to."""

    fault: str
    stage: str
    seen: str
    accepted: int
    #: Accepted and not ended when the fault happened.
    in_flight: int
    wrong: Wrong
    #: Results that a process which knows only the id did not get as they are recorded.
    unresolved: Sequence[str]
    #: How the innocent queries ended: "answered", "answered, degraded", "failed", and how many.
    statuses: dict[str, int]
    #: Outcomes that came too late and changed nothing.
    late: int
    generations_again: int
    tokens_again: int
    tokens_once: int
    #: From the fault until it was lifted: the service or network is back, the process started.
    down_s: float
    #: From then until the next step was decided that needs what was broken.
    recover_s: float
    #: From the fault until the last query had ended.
    ended_s: float
    degrades: bool

    @property
    def problems(self) -> dict[str, Any]:
        """What breaks a promise; empty where all were kept."""
        found: dict[str, Any] = dict(self.wrong.found)
        if self.unresolved:
            found["unresolved"] = list(self.unresolved)[:5]
        if not self.degrades and set(self.statuses) - {"answered"}:
            found["statuses"] = self.statuses
        return found

    @property
    def line(self) -> str:
        """The figures of one injection."""
        again = (
            f"{self.tokens_again} tokens again ({self.tokens_again / max(self.tokens_once, 1):.1%})"
        )
        return (
            f"{self.fault} ({self.stage}): {self.in_flight} in flight, {len(self.wrong.lost)} lost,"
            f" {self.wrong.recorded_twice} recorded twice, {self.late} late, {again},"
            f" down {self.down_s:.1f} s, recovered after {self.recover_s:.1f} s"
        )


def inject(site: ChaosSite, fault: Fault, stage: str, count: int) -> Row:
    """Ask `count` questions, break the site at `stage`, lift it, and see how all of it ended."""
    database = Database(site.postgres.url)
    ((since,),) = database.rows(NOW)
    load = Load(site=site, database=database, wave=site.ask_many(count, **fault.asked_with))
    site.supervised, site.deaths = fault.supervised, []
    prefix = load.wave.prefix
    reach(load, stage)
    in_flight = len(load.wave.accepted) - database.count(ENDED, prefix)
    began = time.monotonic()
    with fault.happening(load) as happened:
        time.sleep(fault.hold)
    lifted = time.monotonic()
    _until_recovered(load, happened)
    recovered = time.monotonic()
    _until_ended(load)
    ended = time.monotonic()
    load.until(lambda: not load.wave.caller.alive, "the caller ends")
    site.supervised = False
    _until_quiet(site)
    journal = site.journal
    return Row(
        fault=fault.name,
        stage=stage,
        seen=happened.seen,
        accepted=len(load.wave.accepted),
        in_flight=in_flight,
        wrong=database.wrong(prefix, load.wave.accepted, since),
        unresolved=_unresolved(load),
        statuses=dict(database.rows(STATUSES, f"{prefix}%", load.wave.suspects)),
        late=database.count(LATE, prefix),
        generations_again=journal.again(prefix),
        tokens_again=journal.tokens_again(prefix),
        tokens_once=journal.tokens_once(prefix),
        down_s=lifted - began,
        recover_s=recovered - lifted,
        ended_s=ended - began,
        degrades=fault.degrades,
    )


def _until_recovered(load: Load, happened: Happened) -> None:
    """Until something is done that needs what was broken, or there is nothing left to do."""
    before = _done(load, happened)
    load.until(
        lambda: _done(load, happened) > before or _all_ended(load),
        f"anything done after: {happened.seen}",
        END_WITHIN,
    )


def _done(load: Load, happened: Happened) -> int:
    """Generations of the participants that were hit; without any, what is recorded."""
    if happened.victims:
        return sum(load.site.journal.finished[name] for name in happened.victims)
    return load.database.decided(load.wave.prefix)


def _all_ended(load: Load) -> bool:
    ended = load.database.count(ENDED, load.wave.prefix)
    return load.wave.asked and ended >= load.wave.count


def _until_ended(load: Load) -> None:
    """Until every accepted query has ended. One that never does is not waited for: it is lost."""
    try:
        load.until(lambda: _all_ended(load), "the end of every query", END_WITHIN)
    except AssertionError:
        assert load.wave.asked, f"the caller still asks\n{load.site.logs()}"


def _until_quiet(site: ChaosSite) -> None:
    """Until whatever is still on its way has arrived: what comes twice or late must show."""
    ended = [name for name, child in site.children.items() if not child.alive]
    assert not ended, f"{ended} ended without being killed\n{site.logs()}"
    site.wait_until_read()
    site.wait_until(lambda: _quiet(site), timeout=120)


def _quiet(site: ChaosSite) -> bool:
    generating = sum(site.journal.in_flight({pid}) for pid in site.pids())
    return generating == 0 and not any(depth(site.broker, queue)[0] for queue in QUEUES)


def _unresolved(load: Load) -> list[str]:
    recorded = dict(load.database.rows(ANSWERS, f"{load.wave.prefix}%"))
    ended = [query_id for query_id in load.wave.accepted if query_id in recorded]
    found = load.site.read_results(ended)
    return [i for i in ended if not _same(found.get(i), recorded[i])]


def _same(result: Any, recorded: Any) -> bool:
    """A failed query's result is an error with the recorded reason."""
    if isinstance(result, str):
        return result.startswith("QueryFailed") and recorded["reason"] in result
    return bool(result == recorded)
