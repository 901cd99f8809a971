"""Steps that hurt whoever does them, among many that do not."""

from __future__ import annotations

from collections.abc import Generator

from tests.chaos.faults import Happened, fault
from tests.chaos.record import STATUS
from tests.chaos.site import DIES
from tests.chaos.stages import Load


def _until_given_up(load: Load) -> str:
    """Until the suspect has failed; its reason. Its workers are started again meanwhile."""
    load.until(lambda: bool(load.wave.suspects), "the suspect is accepted")
    (suspect,) = load.wave.suspects
    load.until(lambda: bool(load.database.rows(STATUS, suspect)), "the suspect's end", 180)
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
