"""Experiments are entries that a run accepts, and that differ in what the experiment is about."""

from __future__ import annotations

import pytest

from colm.evaluation.experiments.catalogue import EXPERIMENTS, PlannedEntry, Site, plan_of
from colm.models.errors import InvalidAsk
from colm.models.strategies import STRATEGIES
from colm.tasks.config.run_config import read_config
from tests.unit.examples import SERVER, a_query

SITE = Site(
    clients={"ada": "small", "bo": "small", "cy": "other"}, servers={"main": "big", "poor": "tiny"}
)


def by_name(points: tuple[PlannedEntry, ...]) -> dict[str, PlannedEntry]:
    return {point.entry["name"]: point for point in points}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_plan_is_a_run_that_its_site_can_make(name: str) -> None:
    points = plan_of(name, SITE)
    entries = [dict(point.entry) for point in points]
    config = read_config({"data": {"source": "items.jsonl"}, "entries": entries})
    assert len(config.entries) == len(points) >= 2
    for entry in config.entries:
        clients = entry.clients or tuple(SITE.clients)
        server = SERVER.model_copy(update={"name": entry.server or "main"})
        query = a_query(*clients, strategy=entry.strategy, options=entry.options, server=server)
        STRATEGIES[entry.strategy].check(query)


def test_with_each_client_comes_its_control_with_as_many_calls() -> None:
    points = by_name(plan_of("number-of-clients", SITE))
    assert set(points) == {f"{kind}-{k}" for kind in ("colm", "resample") for k in (1, 2, 3)}
    for k in (1, 2, 3):
        method, control = points[f"colm-{k}"], points[f"resample-{k}"]
        assert method.x == control.x == k == len(method.entry["clients"])
        assert method.entry["clients"] == control.entry["clients"]
        assert control.entry["options"]["calls"] == method.entry["options"]["rounds"] + 1


def test_no_more_than_eight_clients_are_tried() -> None:
    many = Site(clients={f"c{i}": "small" for i in range(12)}, servers={"main": "big"})
    assert {point.x for point in plan_of("number-of-clients", many)} == set(range(1, 9))


def test_each_server_guides_and_answers_alone_and_so_does_each_client() -> None:
    points = by_name(plan_of("weak-server", SITE))
    assert set(points) == {
        "alone-ada", "alone-bo", "alone-cy", "alone-main", "alone-poor", "colm-main", "colm-poor",
    }  # fmt: skip
    assert points["alone-poor"].entry["options"] == {"participant": "poor"}
    assert points["alone-poor"].entry["server"] == points["colm-poor"].entry["server"] == "poor"


def test_copies_are_compared_with_as_many_different_clients() -> None:
    points = by_name(plan_of("same-or-different", SITE))
    assert points["different"].entry["clients"] == ["ada", "cy"]
    assert points["copies-of-ada"].entry["clients"] == ["ada", "bo"]


@pytest.mark.parametrize(
    ("name", "site", "complaint"),
    [
        ("same-or-different", Site(clients={"a": "x", "b": "x"}, servers={}), "two models"),
        ("same-or-different", Site(clients={"a": "x", "b": "y"}, servers={}), "two models"),
        ("weak-server", Site(clients={"a": "x"}, servers={"main": "big"}), "2 servers; 1 conf"),
        ("ablations", Site(clients={"a": "x"}, servers={"main": "big"}), "2 clients; 1 conf"),
        ("colour", SITE, "no experiment 'colour' .there are: ablations"),
    ],
)
def test_a_site_that_cannot_is_told_what_it_needs(name: str, site: Site, complaint: str) -> None:
    with pytest.raises(InvalidAsk, match=complaint):
        plan_of(name, site)
