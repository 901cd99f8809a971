"""The running stack's own file, and the colm.toml that `colm init` writes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from models.errors import SettingsError
from models.strategies.colm_options import ColmOptions
from tasks.settings import Settings, load, stack_file
from workers.initial import TEMPLATE

BROKER, DATABASE = "redis+socket:///run/x.sock", "sqlite:////run/x.db"


def running(home: Path, **changes: Any) -> None:
    home.mkdir(exist_ok=True)
    told = {"pid": os.getpid(), "broker": BROKER, "database": DATABASE} | changes
    stack_file(home).write_text(json.dumps(told))


def found(home: Path, **variables: str) -> Settings:
    return load({"COLM_HOME": str(home), **variables}, home)


@pytest.fixture
def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_running_stacks_broker_and_database_are_used(tmp_path: Path) -> None:
    running(tmp_path)
    assert (found(tmp_path).broker, found(tmp_path).database) == (BROKER, DATABASE)


def test_what_the_user_names_goes_before_the_running_stack(tmp_path: Path) -> None:
    running(tmp_path)
    one = found(tmp_path, COLM_BROKER="amqp://host/mine")
    assert (one.broker, one.database) == ("amqp://host/mine", DATABASE)
    both = found(tmp_path, COLM_BROKER="amqp://host/mine", COLM_DATABASE="sqlite:///mine")
    assert (both.broker, both.database) == ("amqp://host/mine", "sqlite:///mine")


def test_a_stack_that_has_died_is_none(tmp_path: Path, dead_pid: int) -> None:
    running(tmp_path, pid=dead_pid)
    assert found(tmp_path).broker is None


def test_another_users_process_is_alive_too(tmp_path: Path) -> None:
    running(tmp_path, pid=1)
    assert found(tmp_path).broker == BROKER


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"pid": "x"}', '{"pid": 1}', "\udcff"])
def test_a_broken_stack_file_is_named(tmp_path: Path, text: str) -> None:
    stack_file(tmp_path).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(SettingsError, match=r"stack\.json cannot be read"):
        found(tmp_path)


def test_a_broken_stack_file_does_not_matter_where_everything_is_named(tmp_path: Path) -> None:
    stack_file(tmp_path).write_text("{")
    assert found(tmp_path, COLM_BROKER="amqp://host/mine", COLM_DATABASE=DATABASE).broker


def validated(text: str) -> Settings:
    return Settings.model_validate(tomllib.loads(text))


def test_the_initial_file_says_exactly_the_defaults() -> None:
    written = validated(TEMPLATE)
    assert written.model_copy(update={"strategies": {}}) == Settings()
    for name, value in written.strategies["colm"].items():
        assert value == ColmOptions.model_fields[name].default


def uncommented(text: str) -> list[str]:
    """The lines of each commented example: whole tables, or single values."""
    examples: list[list[str]] = [[]]
    for line in text.splitlines():
        example = line.removeprefix("# ")
        if line.startswith("["):
            examples.append([line])  # what follows belongs to this table
        if line.startswith("# [") or line == "#":
            examples.append([])
        if line.startswith("# ") and (example.startswith("[") or " = " in example):
            examples[-1].append(example)
    said = [lines for lines in examples if any("=" in line for line in lines)]
    return ["\n".join(lines) for lines in said]


def test_every_commented_example_is_valid() -> None:
    examples = uncommented(TEMPLATE)
    assert [example.splitlines()[0].partition(" ")[0] for example in examples] == [
        "broker", "[clients.cy.sampling]", "[clients.cy.engine]", "[clients.cy.engine]",
        "[schedules.night]", "[images]", "[audit]", "[tls]",
    ]  # fmt: skip
    for example in examples:
        validated(example)


def test_the_initial_file_names_every_key_but_the_options_left_to_the_strategies() -> None:
    plain = tomllib.loads(TEMPLATE)
    commented = TEMPLATE.replace("# ", "")
    for name in Settings.model_fields:
        assert name in plain or f"{name} = " in commented or f"[{name}." in commented
    assert set(plain["deadlines"]) == set(Settings().deadlines.model_dump())
    assert set(plain["limits"]) == set(Settings().limits.model_dump())
