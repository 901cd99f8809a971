"""Whether a stack runs, and which; and the colm.toml that `colm init` writes."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from colm.models.errors import SettingsError
from colm.models.strategies.colm.options import ColmOptions
from colm.tasks.config import running_stack
from colm.tasks.config.running_stack import stack_file, stack_lock, this_stack
from colm.tasks.config.settings import Settings, load, new_stack_settings, settings
from colm.workers.cli.config_template import TEMPLATE
from colm.workers.evaluator.lease import is_alive, this_process
from tests.unit.conftest import SetEnvironment

BROKER, DATABASE = "redis+socket:///run/x.sock", "sqlite:////run/x.db"


def told(home: Path, **changes: Any) -> None:
    """A stack's file, whether or not the stack runs."""
    stack_file(home).write_text(json.dumps(this_stack(BROKER, DATABASE) | changes))


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Path]:
    """A home whose lock a stack holds, as any process may that is there."""
    with stack_lock(tmp_path).open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield tmp_path


@pytest.fixture
def left(tmp_path: Path) -> Path:
    """A home whose stack has ended, however it ended."""
    stack_lock(tmp_path).write_text("1 a-container")
    return tmp_path


def found(home: Path, **variables: str) -> Settings:
    return load({"COLM_HOME": str(home), **variables}, home)


@pytest.fixture
def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.mark.parametrize("pid", [1, os.getpid(), 2**22 + 1], ids=["init", "own", "none"])
def test_a_running_stacks_broker_and_database_are_used_whatever_its_process_id(
    running: Path, pid: int
) -> None:
    told(running, pid=pid)
    assert (found(running).broker, found(running).database) == (BROKER, DATABASE)


def test_what_an_earlier_version_wrote_of_a_running_stack_is_used(running: Path) -> None:
    old = {"pid": 1, "broker": BROKER, "database": DATABASE}
    stack_file(running).write_text(json.dumps(old))
    assert found(running).broker == BROKER


def test_what_the_user_names_goes_before_the_running_stack(running: Path) -> None:
    told(running)
    one = found(running, COLM_BROKER="amqp://host/mine")
    assert (one.broker, one.database) == ("amqp://host/mine", DATABASE)
    both = found(running, COLM_BROKER="amqp://host/mine", COLM_DATABASE="sqlite:////mine")
    assert (both.broker, both.database) == ("amqp://host/mine", "sqlite:////mine")


@pytest.mark.parametrize("pid", [1, os.getpid()], ids=["init", "own"])
def test_a_stack_that_has_ended_is_none_though_its_process_id_lives_again(
    left: Path, pid: int
) -> None:
    told(left, pid=pid)
    assert (found(left).broker, found(left).database) == (None, None)


def test_a_stack_without_a_lock_to_look_at_is_known_by_its_start(
    tmp_path: Path, dead_pid: int
) -> None:
    told(tmp_path)
    assert found(tmp_path).broker == BROKER
    for change in ({"pid": dead_pid}, {"pid": 1}, {"started": "1"}, {"started": ""}):
        told(tmp_path, **change)
        assert found(tmp_path).broker is None, change


def test_a_stack_of_another_machine_with_the_same_home_is_not_ours(
    running: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told(running)
    monkeypatch.setattr(running_stack, "_boot", lambda: "another start of another machine")
    assert found(running).broker is None


def test_a_copy_of_a_running_stacks_home_has_no_stack(running: Path, tmp_path: Path) -> None:
    told(running)
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in (stack_file(running), stack_lock(running)):
        (copy / path.name).write_bytes(path.read_bytes())
    assert found(copy).broker is None


def test_to_look_whether_a_stack_runs_keeps_none_from_starting(left: Path) -> None:
    told(left)
    found(left)
    with stack_lock(left).open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_the_process_that_is_to_be_the_stack_does_not_ask_another(
    running: Path, environment: SetEnvironment
) -> None:
    told(running)
    environment(COLM_HOME=str(running))
    assert settings().broker == BROKER
    assert (new_stack_settings().broker, new_stack_settings().database) == (None, None)


def test_an_evaluator_is_gone_only_where_its_process_id_means_one_of_ours(
    dead_pid: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = this_process()
    where, started = mine.rsplit(":", 2)[0], mine.rpartition(":")[2]
    assert is_alive(mine)
    assert not is_alive(f"{where}:{dead_pid}:{started}")
    assert not is_alive(f"{where}:{os.getpid()}:1")  # a process id that lives again
    assert is_alive(f"another-host/1/2:{dead_pid}:{started}")
    assert is_alive(f"{where.partition('/')[0]}:{dead_pid}:{started}")  # of an earlier version
    monkeypatch.setattr(running_stack, "_boot", lambda: "another start of a machine of this name")
    assert is_alive(f"{where}:{dead_pid}:{started}")


BROKEN = ["", "{", "[]", "{}", '{"pid": "x"}', '{"pid": 1}', "\udcff", "3", "null"]


@pytest.mark.parametrize("text", BROKEN)
def test_a_broken_file_of_a_running_stack_is_named(running: Path, text: str) -> None:
    stack_file(running).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(SettingsError, match=r"stack\.json cannot be read"):
        found(running)


@pytest.mark.parametrize("text", BROKEN)
def test_a_broken_file_does_not_matter_where_no_stack_runs(left: Path, text: str) -> None:
    stack_file(left).write_bytes(text.encode("utf-8", "surrogateescape"))
    assert found(left).broker is None


def test_a_broken_stack_file_does_not_matter_where_everything_is_named(running: Path) -> None:
    stack_file(running).write_text("{")
    assert found(running, COLM_BROKER="amqp://host/mine", COLM_DATABASE=DATABASE).broker


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
