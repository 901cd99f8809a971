"""What can be ordered is checked where it is ordered, and every mistake is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from colm.models.errors import InvalidAsk
from colm.tasks.config.run_config import RunConfig, read_config
from colm.tasks.evaluations import ask_options, run_name
from tests.unit.examples import NOW

ROOT = Path(__file__).parents[3]
CONFIG: dict[str, Any] = {
    "data": {"source": "items.jsonl"},
    "entries": [{"name": "alone", "strategy": "single"}, {"name": "colm"}],
}


@pytest.mark.parametrize("path", sorted((ROOT / "examples" / "evaluation").glob("*.toml")))
def test_every_example_is_a_configuration(path: Path) -> None:
    assert read_config(path).name == path.stem


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"concurency": 3}, "unknown key 'concurency'; did you mean 'concurrency'"),
        ({"data": {"source": "x", "limits": 3}}, "unknown key 'data.limits'; did you mean 'limit'"),
        (
            {"entries": [{"name": "a", "strategie": "colm"}]},
            "unknown key 'entries.0.strategie'; did you mean 'strategy'",
        ),
        (
            {"entries": [{"name": "a", "options": {"rouns": 1}}]},
            "strategy 'colm' has no option 'rouns'; did you mean 'rounds'",
        ),
        (
            {"entries": [{"name": "a", "strategy": "singel"}]},
            "unknown strategy 'singel'; did you mean 'single'",
        ),
        ({"entries": [{"name": "a", "by_likelihood": "letters"}]}, "for the strategy 'single'"),
        ({"entries": [{"name": "a"}, {"name": "a"}]}, "two entries are called 'a'"),
        ({"entries": []}, "entries: "),
        ({"baselines": ["alon"]}, "no entry is called 'alon'; did you mean 'alone'"),
        ({"seeds": [1, 1]}, "the same seed twice"),
        ({"window": "weekdy 22:00-06:00"}, "window: there is no day 'weekdy'; did you mean"),
        ({"prices": {"main": {"in": 1}}}, "unknown key 'prices.main.in'"),
    ],
)
def test_a_mistake_is_named(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InvalidAsk) as raised:
        read_config({**CONFIG, **change})
    assert complaint in str(raised.value)


def test_a_file_is_named_after_itself_and_its_paths_are_its_own(tmp_path: Path) -> None:
    path = tmp_path / "night.toml"
    path.write_text('[data]\nsource = "items.jsonl"\n[[entries]]\nname = "colm"\n')
    found = read_config(path)
    assert (found.name, found.data.source) == ("night", str(tmp_path / "items.jsonl"))
    assert read_config(found) is found


@pytest.mark.parametrize("text", ["[data", "", "\xff"])
def test_a_file_that_is_none_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "night.toml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(InvalidAsk, match=r"night\.toml"):
        read_config(path)
    with pytest.raises(InvalidAsk, match=r"day\.toml cannot be read"):
        read_config(tmp_path / "day.toml")


def test_what_is_recorded_is_read_back_as_it_was() -> None:
    found = read_config({**CONFIG, "window": "daily 22:00-06:00", "seeds": [1, 2]})
    assert RunConfig.model_validate(found.model_dump(mode="json")) == found


def test_an_entry_goes_before_its_run() -> None:
    entries = [
        {"name": "own", "clients": ["bo"], "temperature": 0.0, "options": {"rounds": 1}},
        {"name": "runs"},
    ]
    found = read_config({**CONFIG, "entries": entries, "clients": ["ada"], "temperature": 0.5})
    assert ask_options(found, "own") == {
        "strategy": "colm", "rounds": 1, "clients": ("bo",), "temperature": 0.0,
    }  # fmt: skip
    assert ask_options(found, "runs") == {
        "strategy": "colm", "clients": ("ada",), "temperature": 0.5,
    }  # fmt: skip


def test_a_run_without_a_name_is_called_after_its_file_and_its_time() -> None:
    assert run_name("night", NOW, "abcdef") == "night-20260301-120000-abcd"
