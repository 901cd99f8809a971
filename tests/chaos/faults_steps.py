"""Steps that hurt whoever does them, among many that do not."""

from __future__ import annotations

import time
from collections.abc import Generator

from tests.chaos.faults import Happened, fault, kill
from tests.chaos.record import OPEN, STATUS
from tests.chaos.site import DIES, HANGS, ChaosSite, poll
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
    deaths.clear()


#: How long a hanging engine is put up with in this fault (seconds).
HANG = 4
CLIENTS = ("client-ada-1", "client-ada-2", "client-bo")


@fault(
    "a step that hangs its engine",
    "drafting",
    supervised=True,
    asked_with={"suffix": HANGS},
)
def _hanging(load: Load) -> Generator[Happened]:
    """Whoever takes it moves no more, notices that itself, and ends; then it is started again."""
    site = load.site
    site.variables["COLM_LIMITS__HANG"] = str(HANG)
    _again(site)
    site.deaths.clear()
    reason = _until_given_up(load)
    assert "its worker died" in reason, reason
    ended = len(site.deaths)
    assert ended
    assert any("its engine has work and has not moved" in site.log(name) for name in CLIENTS)
    yield Happened(f"{ended} processes ended themselves before it was given up", ("ada", "bo"))
    site.deaths.clear()
    del site.variables["COLM_LIMITS__HANG"]
    _again(site)


def _again(site: ChaosSite) -> None:
    """Start the clients again, with the variables that are set now."""
    for name in CLIENTS:
        if site.children[name].alive:
            kill(site, name)
        site.launch(name)


#: What a cancelled query's steps may still be in an engine (seconds).
STOPPED_WITHIN = 1.0


@fault("cancel every fifth query", "drafting", "refining", hold=2)
def _cancel(load: Load) -> Generator[Happened]:
    """Those end as failed, their steps stop, and nothing more is generated for them."""
    site = load.site
    chosen = [row[0] for row in load.database.rows(OPEN, f"{load.wave.prefix}%")][::5]
    load.wave.cancelled.extend(chosen)
    began = time.monotonic()
    site.python(
        "from tasks import cancel\n"
        f"for query_id in {chosen!r}:\n    cancel.delay(query_id, 'no longer wanted')\nprint(0)"
    )
    load.until(lambda: _ended(load, chosen), "the end of what was cancelled")
    took = time.monotonic() - began
    ids = set(chosen)
    poll(lambda: site.journal.of(ids)[1] == 0, timeout=STOPPED_WITHIN, what="their steps stop")
    begun, _ = site.journal.of(ids)
    failed = sum(row[0] == "failed" for i in chosen for row in load.database.rows(STATUS, i))
    assert failed > 0
    yield Happened(f"{failed} of {len(chosen)} ended as cancelled within {took:.1f} s")
    assert site.journal.of(ids) == (begun, 0), "generated although it was cancelled"


def _ended(load: Load, query_ids: list[str]) -> bool:
    return all(load.database.rows(STATUS, query_id) for query_id in query_ids)
