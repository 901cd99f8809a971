"""Overnight work fills what is free and holds up nobody."""

from __future__ import annotations

import pytest

from tests.journeys.site import Site

DELAY = 1.0
BACKLOG = 30


@pytest.mark.transport
def test_an_interactive_step_waits_for_about_one_step_behind_a_backlog_of_overnight_ones(
    site: Site,
) -> None:
    site.configure("ada", delay=DELAY, draft=60)
    site.variables["COLM_CLIENTS__ADA__ENGINE__MAX_NUM_SEQS"] = "2"
    site.start("coordinator")
    single = {"strategy": "single", "participant": "ada"}
    site.python(
        "import json\nfrom colm.tasks import ask\n"
        f"for n in range({BACKLOG}):\n"
        f"    ask.delay(f'Overnight {{n}}?', lane='overnight', **{single!r})\n"
        "print(json.dumps(None))"
    )
    site.start("client", "ada")
    log = site.folder / "client-ada.log"
    site.wait_until(lambda: log.read_text().count("taken") >= 2)

    answer = site.ask("Who is first?", single)

    statuses = list(site.statuses().values())  # of the latest 20
    assert answer["status"] == "answered"
    assert answer["seconds"] < 3 * DELAY
    assert statuses.count("open") > len(statuses) // 2
