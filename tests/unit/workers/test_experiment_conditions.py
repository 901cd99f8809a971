"""Conditions are runs that differ in nothing but what surrounds the clients."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from colm.db.connection import connect
from colm.db.schema import migrate
from colm.evaluation.experiments.catalogue import Site
from colm.evaluation.experiments.conditions import ENVIRONMENT_EXPERIMENTS
from colm.evaluation.experiments.report import as_json, cells, merged, table_of
from colm.models.errors import CallerError, ClientsGone, InvalidAsk
from colm.workers.experiments.conditions import (
    _merged_runs,
    addresses,
    config_of,
    narrowed,
    through,
)
from colm.workers.experiments.plan import Order
from tests.unit.evaluation_runs import ENTRIES, simulated

NETWORK = ENVIRONMENT_EXPERIMENTS["network"]
SITE = Site(clients={"ada": "small", "bo": "small"}, servers={"main": "big"})


def test_a_run_asks_colm_of_the_chosen_clients_one_query_at_a_time() -> None:
    config, clients = config_of(NETWORK, SITE, Order(data="items.jsonl", limit=3), Path("/data"))
    assert clients == ["ada", "bo"] == list(config.clients or ())
    assert (config.concurrency, config.data.limit) == (1, 3)
    assert [entry.name for entry in config.entries] == ["colm"]

    order = Order(data="items.jsonl", clients=["bo"], concurrency=4)
    config, clients = config_of(NETWORK, SITE, order, Path("/data"))
    assert (clients, config.concurrency) == (["bo"], 4)


def test_conditions_can_be_chosen_and_the_first_is_the_baseline() -> None:
    found = narrowed(NETWORK, ["mobile", "direct"])
    assert [one.name for one in found.conditions] == ["mobile", "direct"]
    assert found.layout.places["mobile"].x == 0
    assert narrowed(NETWORK, None) == NETWORK
    with pytest.raises(InvalidAsk, match="network has no condition 'mobil'; did you mean 'mobile'"):
        narrowed(NETWORK, ["mobil"])


def test_other_sizes_than_the_usual_can_be_asked_for() -> None:
    found = narrowed(ENVIRONMENT_EXPERIMENTS["memory"], ["unlimited", "memory-768"]).conditions
    assert [one.memory for one in found] == [None, 768]
    (three,) = narrowed(ENVIRONMENT_EXPERIMENTS["threads"], ["threads-3"]).conditions
    assert (three.threads, three.memory) == (3, None)
    for name in ("memory-0", "memory-", "threads-2", "memory-1g"):
        with pytest.raises(InvalidAsk, match="memory has no condition"):
            narrowed(ENVIRONMENT_EXPERIMENTS["memory"], [name])


@pytest.mark.parametrize(
    ("url", "target", "link", "expected"),
    [
        (
            "amqp://ada:se%2Fcret@broker:5673/colm",
            ("broker", 5673),
            ("127.0.0.1", 9),
            "amqp://ada:se%2Fcret@127.0.0.1:9/colm",
        ),
        ("amqp://broker", ("broker", 5672), ("127.0.0.1", 9), "amqp://127.0.0.1:9"),
        (
            "redis+socket://%2Frun%2Fbroker.sock?virtual_host=3",
            "/run/broker.sock",
            "/tmp/link.sock",
            "redis+socket:///tmp/link.sock?virtual_host=3",
        ),
        (
            "redis+socket:///run/broker.sock?virtual_host=0",
            "/run/broker.sock",
            "/tmp/link.sock",
            "redis+socket:///tmp/link.sock?virtual_host=0",
        ),
    ],
)
def test_clients_reach_the_same_broker_through_the_link(
    url: str, target: object, link: tuple[str, int] | str, expected: str
) -> None:
    where, listen = addresses(url, Path("/tmp/link.sock"))
    assert where == target
    assert isinstance(listen, str) is isinstance(target, str)
    assert through(url, link) == expected


def test_a_certificate_cannot_be_met_through_a_link() -> None:
    with pytest.raises(CallerError, match="over TLS"):
        addresses("amqps://broker", Path("/tmp/link.sock"))


def test_the_runs_are_told_as_one_with_what_was_measured_beside_them() -> None:
    entries = (ENTRIES[2],)
    runs = {
        "direct": simulated("net-direct", n=12, seed=1, entries=entries),
        "mobile": simulated("net-mobile", n=12, seed=2, entries=entries),
    }
    data = merged(runs, "net")
    layout = narrowed(NETWORK, ["direct", "mobile"]).layout
    measured: dict[str, dict[str, float | None]] = {
        "direct": {"KiB": 2.5},
        "mobile": {"KiB": None},
    }
    table = table_of(data, layout, measured=measured)

    assert [point.row.name for point in table.points] == ["direct", "mobile"]
    for name, one in runs.items():
        point = next(point for point in table.points if point.row.name == name)
        assert point.row.right == sum(unit.right for unit in one.units)
    assert table.points[1].gain is not None
    assert table.points[1].gain.n == 12
    head, rows = cells(table)
    assert head[-1] == "KiB"
    assert [row[-1] for row in rows] == ["2.50", ""]
    assert as_json(data, table)["measured"] == measured
    assert len(data.notes) == 1, "the same note is told once"
    assert cells(replace(table, measured={}))[0] == head[:-1]


def test_where_no_clients_could_start_it_is_said_why(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'record.sqlite'}"
    migrate.upgrade(url)
    engine = connect(url)
    small = narrowed(ENVIRONMENT_EXPERIMENTS["memory"], ["memory-8"])
    with pytest.raises(ClientsGone, match="no condition was measured: memory-8: MemoryError"):
        _merged_runs(engine, "small", small, {"memory-8": {"trouble": "MemoryError"}})
    engine.dispose()
