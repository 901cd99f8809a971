"""A step that kills its worker is tried a bounded number of times, and harms no other."""

from __future__ import annotations

import signal

from colm.workers.participant.generator import EX_SOFTWARE
from tests.journeys.site import Site

INNOCENT = 5


class Restarting:
    """Starts a client again whenever it has died, as a service manager does."""

    def __init__(self, site: Site, client: str, *, status: int = -signal.SIGKILL) -> None:
        self.site = site
        self.client = client
        self.status = status
        self.deaths = 0

    def look(self) -> None:
        name = f"client-{self.client}"
        status = self.site.processes[name].poll()
        if status is None:
            return
        assert status == self.status
        self.deaths += 1
        self.site.start("client", self.client)


def test_a_poisonous_step_is_given_up_and_its_batch_mates_all_succeed(site: Site) -> None:
    site.configure("ada", delay=1, draft=60)
    site.variables["COLM_CLIENTS__ADA__ENGINE__CRASH_ON"] = "POISON"
    site.start("coordinator")
    questions = ["POISON", *(f"Question {n}?" for n in range(INNOCENT))]
    queries = [
        site.submit(question, {"strategy": "single", "participant": "ada"})
        for question in questions
    ]
    client = Restarting(site, "ada")
    site.start("client", "ada")  # finds all six in its queue: they are one batch

    def ended() -> bool:
        client.look()
        found = site.statuses()
        return all(found.get(query, "open") != "open" for query in queries)

    site.wait_until(ended)

    poison, *innocent = (site.life(query) for query in queries)
    assert [life["entries"][-1]["what"]["status"] for life in innocent] == ["answered"] * INNOCENT
    end = poison["entries"][-1]["what"]
    assert end["status"] == "failed"
    assert "Poison: its worker died: it was redelivered 3 times" in end["reason"]
    assert "run alone once (by client-ada." in end["reason"]
    assert client.deaths == 3  # twice in company, once alone


def test_a_step_that_hangs_ends_its_worker_and_is_given_up_like_one_that_kills_it(
    site: Site,
) -> None:
    site.configure("ada", draft=60)
    site.variables["COLM_CLIENTS__ADA__ENGINE__STALL_ON"] = "POISON"
    site.variables["COLM_LIMITS__ENGINE_STALL_TIMEOUT"] = "1"
    site.start("coordinator")
    client = Restarting(site, "ada", status=EX_SOFTWARE)
    site.start("client", "ada")
    single = {"strategy": "single", "participant": "ada"}
    query = site.submit("POISON", single)

    def ended() -> bool:
        client.look()
        return site.statuses().get(query, "open") != "open"

    site.wait_until(ended)

    assert "run alone once" in site.life(query)["entries"][-1]["what"]["reason"]
    assert client.deaths == 3
    assert "has not moved for" in (site.folder / "client-ada.log").read_text()
    assert site.ask("Is it well again?", single)["status"] == "answered"
