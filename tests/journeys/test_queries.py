"""The five journeys of a query that every backend must carry."""

from __future__ import annotations

import pytest

from tests.journeys.site import Site, outcomes


@pytest.mark.transport
def test_one_client_drafts_and_refines_its_own_answer(site: Site) -> None:
    site.configure("ada")
    site.start_all("ada")

    answer = site.ask("What is two plus two?", {"rounds": 1})

    assert answer["status"] == "answered"
    assert answer["chosen"] == "ada"
    client = answer["clients"]["ada"]
    assert client["status"] == "refined"
    assert client["draft"].startswith("client says: What is two plus two?")
    assert client["refined"] == answer["answer"]
    assert answer["guidance"][0]["text"] == "ada, bo: look again"
    assert not answer["degraded"]


def test_three_clients_refine_over_two_rounds_of_guidance(site: Site) -> None:
    site.configure("ada", "bo", "cy")
    site.start_all("ada", "bo", "cy")

    answer = site.ask("Why is the sky blue?", {"rounds": 2, "seed": 5})

    assert [g["round"] for g in answer["guidance"]] == [1, 2]
    assert {n: c["status"] for n, c in answer["clients"].items()} == {
        "ada": "refined", "bo": "refined", "cy": "refined",
    }  # fmt: skip
    life = site.life(answer["query_id"])
    done = outcomes(life)
    assert set(done.values()) == {"completed"}
    assert len(done) == 3 + 1 + 3 + 1 + 3
    assert [entry["seq"] for entry in life["entries"]] == list(range(1, len(life["entries"]) + 1))


@pytest.mark.transport
def test_the_server_selects_two_of_four_and_all_four_refine(site: Site) -> None:
    clients = ("ada", "bo", "cy", "dee")
    site.configure(*clients)
    site.start_all(*clients)

    answer = site.ask("Which way is north?", {"rounds": 1, "select": 2})

    assert answer["selected"] == ["ada", "bo"]
    done = outcomes(site.life(answer["query_id"]))
    assert sorted(step for step in done if ".draft." in step) == ["1.draft.ada", "1.draft.bo"]
    assert sorted(step for step in done if ".refine." in step) == [
        "1.refine.ada", "1.refine.bo", "1.refine.cy", "1.refine.dee",
    ]  # fmt: skip
    assert answer["clients"]["cy"]["draft"] is None
    assert answer["clients"]["cy"]["refined"] is not None


@pytest.mark.transport
def test_a_query_goes_on_without_a_client_that_is_down(site: Site) -> None:
    site.configure("ada", "bo", "cy", draft=4)
    site.start_all("ada", "bo")

    answer = site.ask("What is the tallest tree?", {"rounds": 1})

    assert answer["status"] == "answered"
    assert answer["degraded"]
    assert answer["clients"]["cy"]["status"] == "failed"
    assert "cy" in answer["clients"]["cy"]["reason"]
    assert answer["guidance"][0]["drafts_of"] == ["ada", "bo"]
    done = outcomes(site.life(answer["query_id"]))
    assert done["1.draft.cy"] == "expired"
    assert done["1.refine.cy"] == "expired"  # asked, but not waited for


@pytest.mark.transport
def test_a_query_waits_for_a_server_that_comes_up_later(site: Site) -> None:
    site.configure("ada", "bo")
    site.start("coordinator")
    site.start("client", "ada", "bo")
    query = site.submit("How deep is the sea?", {"rounds": 1})
    site.wait_until(lambda: len(site.steps(query, ".draft.")) == 2)

    site.start("server", "main")

    answer = site.result(query)
    assert answer["status"] == "answered"
    assert not answer["degraded"]
    assert {c["status"] for c in answer["clients"].values()} == {"refined"}
