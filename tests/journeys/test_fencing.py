"""A worker that was thought dead and comes back cannot change what has moved on."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.journeys.site import Site, outcomes

SINGLE = {"strategy": "single", "participant": "ada"}


def has(log: Path, text: str) -> bool:
    return log.exists() and text in log.read_text()


def test_what_a_frozen_worker_did_in_vain_overwrites_nothing(site: Site) -> None:
    if site.broker.startswith("redis"):
        pytest.skip("the embedded broker may hand a frozen process its own message again")
    site.configure("ada", delay=4, draft=100, query=120)
    site.variables["COLM_LIMITS__HEARTBEAT"] = "5"  # RabbitMQ gives the frozen one up within 15 s
    site.start("coordinator")
    site.start("client", "ada")
    query = site.submit("Who was it?", SINGLE)
    frozen = site.folder / "client-ada.log"
    site.wait_until(lambda: has(frozen, "taken"))
    site.processes["client-ada"].send_signal(signal.SIGSTOP)

    site.variables["COLM_CLIENTS__ADA__ENGINE__REPLY"] = "It was the other one."
    site.start("client", "ada", known_as="other")
    answer = site.result(query, timeout=100)
    assert answer["answer"] == "It was the other one."
    before = site.life(query)

    site.processes["client-ada"].send_signal(signal.SIGCONT)
    site.wait_until(lambda: has(frozen, "succeeded"))
    site.wait_until(lambda: has(site.folder / "coordinator.log", "'receipt': 'repeated'"))
    assert site.life(query) == before
    assert site.result(query) == answer


@pytest.mark.transport
def test_what_comes_after_its_step_was_closed_is_late_and_changes_nothing(site: Site) -> None:
    site.configure("ada", "bo", delay=4, draft=8, query=60)
    site.start("coordinator")
    site.start("server", "main")
    site.start("client", "ada")
    site.start("client", "bo")
    query = site.submit("Who was late?", {"rounds": 1})
    frozen = site.folder / "client-bo.log"
    site.wait_until(lambda: has(frozen, "taken"))
    site.processes["client-bo"].send_signal(signal.SIGSTOP)
    answer = site.result(query, timeout=80)
    assert outcomes(site.life(query))["1.draft.bo"] == "expired"

    site.processes["client-bo"].send_signal(signal.SIGCONT)
    site.wait_until(lambda: "'status': 'late'" in str(site.life(query)))
    assert outcomes(site.life(query))["1.draft.bo"] == "expired"
    assert site.result(query) == answer
