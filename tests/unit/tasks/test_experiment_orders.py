"""An experiment is ordered as an ordinary run, which says itself where its entries stand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from colm.evaluation.experiments.catalogue import Site
from colm.models.engine_settings import EngineSettings
from colm.models.errors import CallerError, InvalidAsk
from colm.tasks.config.run_config import RunConfig, read_config
from colm.tasks.config.settings import ParticipantSettings, Settings
from colm.tasks.evaluations import ask_options
from colm.workers.experiments.plan import (
    Order,
    config_of,
    describe_experiments,
    layout_of,
    site_of,
)

SITE = Site(
    clients={"ada": "small", "bo": "small", "cy": "other"}, servers={"main": "big", "poor": "tiny"}
)
NIGHT = """
concurrency = 2
seeds = [3]
max_new_tokens = 77
baselines = ["old"]
[data]
source = "items.jsonl"
limit = 9
[grader]
kind = "numeric"
[[entries]]
name = "old"
"""


def config(name: str, data: str = "items.jsonl", site: Site = SITE, **said: Any) -> RunConfig:
    return config_of(name, site, Order(data=data, **said), Path("/data"))


def test_a_data_set_is_enough() -> None:
    found = config("number-of-clients")

    assert found.name == "number-of-clients"
    assert found.data.source == "/data/items.jsonl"
    assert [entry.name for entry in found.entries][:2] == ["colm-1", "resample-1"]
    assert found.data.limit is None
    assert found.seeds == (0,)
    assert config("ablations", data="gym:basic_arithmetic").data.source == "gym:basic_arithmetic"


def test_what_the_command_line_says_is_in_the_run() -> None:
    found = config("ablations", limit=5, seeds=[1, 2], concurrency=3, share=False)

    assert (found.data.limit, found.seeds, found.concurrency) == (5, (1, 2), 3)
    assert not found.share


def test_of_an_evaluations_file_all_but_the_entries_is_kept(tmp_path: Path) -> None:
    (tmp_path / "night.toml").write_text(NIGHT)
    night = str(tmp_path / "night.toml")

    found = config("ablations", data=night)
    assert found.data.source == str(tmp_path / "items.jsonl")
    assert (found.concurrency, found.seeds, found.max_new_tokens) == (2, (3,), 77)
    assert (found.data.limit, found.grader.kind, found.baselines) == (9, "numeric", ())
    assert "old" not in {entry.name for entry in found.entries}

    over = config("ablations", data=night, limit=4, seeds=[0])
    assert (over.data.limit, over.seeds, over.concurrency) == (4, (0,), 2)


def test_every_entry_asks_only_those_that_were_chosen() -> None:
    found = config("ablations", clients=["cy", "ada"], servers=["poor"])
    asked = [ask_options(found, entry.name) for entry in found.entries]
    assert {one["server"] for one in asked} == {"poor"}
    assert {tuple(one["clients"]) for one in asked} == {("cy", "ada")}

    one_client = config("number-of-clients", clients=["cy"])
    assert [entry.name for entry in one_client.entries] == ["colm-1", "resample-1"]
    assert one_client.entries[0].clients == ("cy",)

    servers = config("weak-server", servers=["poor", "main"])
    assert [layout_x(servers, name) for name in ("colm-poor", "colm-main")] == [0, 1]


def layout_x(found: RunConfig, entry: str) -> float | None:
    return layout_of("night", found.model_dump(mode="json")).places[entry].x


def test_the_run_says_where_its_entries_stand_and_survives_json() -> None:
    found = config("weak-server")
    stored = json.loads(json.dumps(found.model_dump(mode="json")))
    assert read_config(stored) == found

    layout = layout_of("night", stored)
    assert set(layout.places) == {entry.name for entry in found.entries}
    assert (layout.name, layout.axis, layout.against) == ("weak-server", "server", "server alone")
    assert layout.places["colm-poor"].label == "poor"
    assert layout.places["alone-ada"].x is None


def test_another_run_is_no_experiment() -> None:
    plain = {"data": {"source": "items.jsonl"}, "entries": [{"name": "alone"}]}
    with pytest.raises(CallerError, match="belongs to no experiment: use colm report night"):
        layout_of("night", plain)


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ({"clients": ["adda"]}, "no client 'adda'; did you mean 'ada'"),
        ({"servers": ["ada"]}, "no server 'ada'"),
        ({"seeds": [1, 1]}, "seeds names the same seed twice"),
        ({"clients": ["ada"]}, "needs 2 clients; 1 configured"),
        ({"data": "missing.toml"}, "missing.toml cannot be read"),
    ],
)
def test_a_wrong_order_is_refused_before_anything_is_sent(
    said: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(InvalidAsk, match=complaint):
        config("ablations", **said)


def test_a_file_without_data_is_refused(tmp_path: Path) -> None:
    (tmp_path / "night.toml").write_text("concurrency = 2")
    with pytest.raises(InvalidAsk, match=r"has no \[data\] table"):
        config("ablations", data=str(tmp_path / "night.toml"))


def test_a_place_of_no_entry_is_refused() -> None:
    values = config("ablations").model_dump(mode="json")
    values["experiment"]["places"][0]["entry"] = "nobody"
    with pytest.raises(InvalidAsk, match="no entry is called 'nobody'"):
        read_config(values)


def test_the_site_is_that_of_the_settings_without_what_is_no_model() -> None:
    def engine(**said: Any) -> ParticipantSettings:
        return ParticipantSettings(engine=EngineSettings(**said))

    found = Settings(
        clients={
            "ada": engine(kind="scripted", reply="4"),
            "bo": engine(kind="scripted", reply="5"),
            "cy": engine(model="qwen"),
            "di": engine(model="qwen", threads=1),
        },
        servers={"main": engine(), "checker": engine(kind="sandbox")},
    )
    site = site_of(found)

    assert list(site.servers) == ["main"]
    assert list(site.clients) == ["ada", "bo", "cy", "di"]
    assert len(set(site.clients.values())) == 3
    assert site.clients["cy"] == site.clients["di"]


def test_the_list_says_what_a_site_lacks() -> None:
    few = Site(clients={"ada": "small"}, servers={"main": "big"})
    told = {one["name"]: one for one in describe_experiments(few)}

    assert told["number-of-clients"]["entries"] == 2
    assert told["number-of-clients"]["problem"] == ""
    assert told["weak-server"]["entries"] == 0
    assert "needs 2 servers" in told["weak-server"]["problem"]
