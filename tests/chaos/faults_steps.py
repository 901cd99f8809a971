"""Steps that hurt whoever does them, among many that do not."""

from __future__ import annotations

import time
from collections.abc import Generator

from tests.chaos.faults import Happened, fault
from tests.chaos.record import OPEN, STATUS
from tests.chaos.site import DIES, HANGS, poll
from tests.chaos.stages import Load


def _until_given_up(load: Load) -> str:
    """Until the suspect has failed; its reason. Its workers are started again meanwhile."""
    load.until(lambda: bool(load.wave.suspects), "the suspect is accepted")
    (suspect,) = load.wave.suspects
    load.until(lambda: bool(load.database.rows(STATUS, suspect)), "the suspect's end", 300)
    ((status, reason),) = load.database.rows(STATUS, suspect)
    assert status == "failed", status
    return str(reason)


@fault(
    "a step that kills its worker",
    "drafting",
    supervised=True,
    asked_with={"suffix": DIES},
)
def _deadly(load: Load) -> Generator[Happened]:
    """Its draft kills each client's process that takes it, with all that the process holds."""
    reason = _until_given_up(load)
    assert "its worker died" in reason, reason
    deaths = load.site.deaths
    assert deaths
    yield Happened(f"{len(deaths)} workers died of it before it was given up", ("ada", "bo"))


#: How long a hanging engine is put up with in this fault (seconds).
HANG = 6


@fault(
    "a step that hangs its engine",
    "drafting",
    supervised=True,
    asked_with={"suffix": HANGS},
    variables={"COLM_LIMITS__ENGINE_STALL_TIMEOUT": str(HANG)},
)
def _hanging(load: Load) -> Generator[Happened]:
    """Whoever takes it moves no more, notices that itself, and ends; then it is started again."""
    reason = _until_given_up(load)
    assert "its worker died" in reason, reason
    ended = list(load.site.deaths)
    assert ended
    assert all("its engine has made no progress" in load.site.log(name) for name in ended)
    yield Happened(f"{len(ended)} processes ended themselves before it was given up", ("ada", "bo"))


#: What a cancelled query's steps may still be in an engine (seconds).
STOPPED_WITHIN = 1.0


@fault("cancel every fifth query", "accepting", "drafting", hold=2)
def _cancel(load: Load) -> Generator[Happened]:
    """Those end as failed, their steps stop, and nothing more is generated for them."""
    site = load.site
    canceller = site.interpreter(
        "from colm.tasks import cancel; cancel.app.amqp, cancel.app.backend"
    )
    chosen = [row[0] for row in load.database.rows(OPEN, f"{load.wave.prefix}%")][::5]
    load.wave.cancelled.extend(chosen)
    began = time.monotonic()
    assert chosen, "the wave was through before it could be cancelled"
    canceller(f"for i in {chosen!r}: cancel.delay(i, 'no longer wanted')")
    load.until(lambda: _ended(load, chosen), "the end of what was cancelled")
    took = time.monotonic() - began
    ids = set(chosen)
    poll(lambda: site.journal.of(ids)[1] == 0, timeout=STOPPED_WITHIN, what="their steps stop")
    begun, _ = site.journal.of(ids)
    failed = sum(row[0] == "failed" for i in chosen for row in load.database.rows(STATUS, i))
    assert failed > 0, f"all {len(chosen)} had ended when the cancels came"
    yield Happened(f"{failed} of {len(chosen)} ended as cancelled within {took:.1f} s")
    assert site.journal.of(ids) == (begun, 0), "generated although it was cancelled"


def _ended(load: Load, query_ids: list[str]) -> bool:
    return all(load.database.rows(STATUS, query_id) for query_id in query_ids)
