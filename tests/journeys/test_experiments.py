"""An experiment is one command: ordered, worked on by the site, reported with table and plot."""

from __future__ import annotations

import json

import pytest

from tests.journeys.site import Site

EXAMPLES = 4
#: Clients 1 and 2 with and without guidance.
ENTRIES = ["colm-1", "resample-1", "colm-2", "resample-2"]


def ready(site: Site, *, clients: bool = True) -> None:
    rows = [{"question": f"Is it {n}?", "answer": "look again", "kind": "text"} for n in range(3)]
    rows.append({"question": "Is it 3?", "answer": "something else", "kind": "text"})
    (site.folder / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    site.configure("ada", "bo")
    if clients:
        site.start("client", "ada", "bo")
    site.start("coordinator")
    site.start("server", "main")
    site.start("evaluator")
    site.wait_until(lambda: "ready." in (site.folder / "coordinator.log").read_text())


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_an_experiment_is_one_command(site: Site) -> None:
    ready(site)
    listed = {one["name"]: one for one in json.loads(site.colm("experiment", "list", "--json"))}
    assert listed["number-of-clients"]["entries"] == len(ENTRIES)
    assert "2 servers" in listed["weak-server"]["problem"]

    order = ["experiment", "run", "number-of-clients", "--data", "items.jsonl", "--name", "grow"]
    out = site.colm(*order, timeout=180)

    folder = site.folder / "experiment-grow"
    assert str(folder.name) in out
    assert (folder / "experiment.png").read_bytes().startswith(b"\x89PNG")
    told = json.loads((folder / "experiment.json").read_text())
    points = {point["entry"]: point for point in told["points"]}
    assert list(points) == ENTRIES
    assert {point["n"] for point in points.values()} == {EXAMPLES}
    assert sum(point["failed"] for point in points.values()) == 0
    assert [points[name]["x"] for name in ENTRIES] == [1, 1, 2, 2]
    # One client: a draft and a refinement, guided once; the control asks twice.
    calls = {name: points[name]["calls"] / EXAMPLES for name in ENTRIES}
    assert calls == {"colm-1": 3, "resample-1": 2, "colm-2": 5, "resample-2": 4}
    assert points["colm-1"]["difference"] is None
    assert points["colm-2"]["difference"]["n"] == EXAMPLES
    assert points["colm-2"]["difference_from_control"]["baseline"] == "resample-2"
    assert any("steps were shared" in note for note in told["notes"])

    run = json.loads(site.colm("run", "show", "grow", "--json"))
    assert (run["state"], run["done"]) == ("done", EXAMPLES * len(ENTRIES))
    again = json.loads(site.colm("experiment", "report", "grow", "--json"))
    assert again == told


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_nothing_is_shared_where_the_order_says_so(site: Site) -> None:
    ready(site)
    order = ["experiment", "run", "number-of-clients", "--data", "items.jsonl", "--limit", "2"]
    more = ["--no-share", "--clients", "bo", "--concurrency", "1", "--name", "apart", "--json"]
    told = json.loads(site.colm(*order, *more, timeout=180))

    assert [point["entry"] for point in told["points"]] == ["colm-1", "resample-1"]
    assert {point["n"] for point in told["points"]} == {2}
    assert told["notes"] == []
    refused = site.colm("experiment", "run", "weak-server", "--data", "items.jsonl", status=1)
    assert "needs 2 servers; 1 configured" in refused


@pytest.mark.alone
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_slow_network_is_put_before_clients_of_its_own(site: Site) -> None:
    site.variables["COLM_CLIENTS__BO__ENGINE__MAX_NUM_SEQS"] = "3"  # so two engines, two processes
    ready(site, clients=False)
    order = ["experiment", "run", "network", "--data", "items.jsonl", "--limit", "2"]
    order += ["--conditions", "direct,mobile", "--name", "net"]
    site.colm(*order, timeout=240)

    folder = site.folder / "experiment-net"
    told = json.loads((folder / "experiment.json").read_text())
    direct, mobile = told["points"]
    assert (direct["entry"], mobile["entry"]) == ("direct", "mobile")
    assert direct["n"] == mobile["n"] == 2
    assert direct["failed"] == mobile["failed"] == 0
    # A draft and a refinement, each there and back: four times 50 ms at least.
    assert mobile["median_seconds"] > direct["median_seconds"] + 0.1
    assert mobile["difference"]["n"] == 2
    for name in ("direct", "mobile"):
        measured = told["measured"][name]
        assert all(measured[way] > 1 for way in ("KiB to broker", "KiB from broker"))
        assert measured["clients' peak MiB"] > 20
        logs = [path.name for path in sorted(folder.glob(f"clients-{name}-*.log"))]
        assert logs == [f"clients-{name}-ada.log", f"clients-{name}-bo.log"]

    again = json.loads(site.colm(*order, "--json"))
    assert again == told, "what is done is not done again"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_clients_with_too_little_memory_are_told_of_and_the_others_measured(site: Site) -> None:
    ready(site, clients=False)
    order = ["experiment", "run", "memory", "--data", "items.jsonl", "--limit", "2"]
    order += ["--conditions", "unlimited,memory-32,memory-8192", "--name", "small"]
    site.colm(*order, timeout=240)

    told = json.loads((site.folder / "experiment-small" / "experiment.json").read_text())
    assert [point["entry"] for point in told["points"]] == ["unlimited", "memory-8192"]
    assert [point["failed"] for point in told["points"]] == [0, 0]
    assert set(told["measured"]) == {"unlimited", "memory-8192"}
    (note,) = [note for note in told["notes"] if note.startswith("memory-32: ")]
    assert "the clients did not start (exit status" in note
    assert site.colm(*order, "--json", timeout=60), "what is told is not tried again"


@pytest.mark.timeout(120)
def test_clients_that_run_already_are_not_measured(site: Site) -> None:
    ready(site)
    order = ["experiment", "run", "threads", "--data", "items.jsonl"]
    site.wait_until(lambda: (site.folder / "client-ada-bo.log").read_text().count("ready.") > 0)
    assert "ada, bo: these clients already run" in site.colm(*order, status=1)
