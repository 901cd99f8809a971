"""A process that is told to stop finishes or hands back, in time, and loses nothing."""

from __future__ import annotations

import signal
import time

import pytest

from tests.journeys.site import Site

SINGLE = {"strategy": "single", "participant": "ada"}


def taken(site: Site) -> int:
    return (site.folder / "client-ada.log").read_text().count("taken")


@pytest.mark.transport
def test_a_client_finishes_what_runs_and_hands_back_the_rest(site: Site) -> None:
    site.configure("ada", delay=2, draft=60)
    site.variables["COLM_CLIENTS__ADA__ENGINE__MAX_NUM_SEQS"] = "1"
    site.start("coordinator")
    queries = [site.submit(f"Question {n}?", SINGLE) for n in range(4)]
    site.start("client", "ada")
    site.wait_until(lambda: taken(site) >= 1)

    assert site.stop("client", "ada", within=15) == 0
    assert taken(site) < 4
    site.start("client", "ada")

    for query in queries:
        assert site.result(query)["status"] == "answered"
    assert "Traceback" not in (site.folder / "client-ada.log").read_text()


@pytest.mark.parametrize("times", [1, 2])
def test_what_takes_too_long_is_handed_back_in_time_and_at_once_when_asked_twice(
    site: Site, times: int
) -> None:
    site.configure("ada", delay=20, draft=120, query=120)
    site.variables["COLM_LIMITS__SHUTDOWN_GRACE"] = "3" if times == 1 else "60"
    site.start("coordinator")
    query = site.submit("Will it take long?", SINGLE)
    site.start("client", "ada")
    site.wait_until(lambda: taken(site) == 1)
    process = site.processes.pop("client-ada")

    told = time.monotonic()
    for _ in range(times):
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)
    assert process.wait(15) == 0
    assert time.monotonic() - told < 12
    log = (site.folder / "client-ada.log").read_text()
    assert "1 tasks are handed back" in log
    assert "Traceback" not in log

    site.variables["COLM_CLIENTS__ADA__ENGINE__DELAY"] = "0"
    site.start("client", "ada")
    assert site.result(query, timeout=80)["status"] == "answered"


def test_a_coordinator_under_load_stops_in_time_and_loses_no_query(site: Site) -> None:
    site.configure("ada", "bo", delay=1, draft=60)
    site.start_all("ada", "bo")
    site.wait_until(lambda: "ready." in (site.folder / "coordinator.log").read_text())
    queries = [site.submit(f"Question {n}?", {"rounds": 1}) for n in range(3)]

    assert site.stop("coordinator", within=25) == 0
    site.start("coordinator")

    for query in queries:
        assert site.result(query)["status"] == "answered"
    for name in ("server-main", "client-ada-bo"):
        assert site.stop(name, within=25) == 0
    for log in site.folder.glob("*.log"):
        text = log.read_text()
        assert "Traceback" not in text, text[-4000:]
