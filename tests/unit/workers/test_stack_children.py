"""The processes of a local stack: which there are, and how one that dies comes back."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from colm.models.engine_settings import EngineSettings
from colm.tasks.config.running_stack import stack_file
from colm.tasks.config.settings import ParticipantSettings, Settings, load
from colm.workers.local_stack.stack import Stack, commands
from colm.workers.supervisor import FIRST_PAUSE, HEALTHY_AFTER, LONGEST_PAUSE, SupervisedProcess


class Process:
    """A process that lives until `code` is set."""

    def __init__(self) -> None:
        self.code: int | None = None

    def poll(self) -> int | None:
        return self.code


class FakeChild(SupervisedProcess):
    """Starts fake processes."""

    def start(self, now: float) -> None:
        process: Any = Process()
        self.process, self.started_at = process, now


@pytest.fixture
def child(tmp_path: Path) -> FakeChild:
    log = tmp_path / "client.log"
    log.write_text("one\ntwo\n[/red] a line like markup\n")
    return FakeChild(name="client-ada", command=[], log_path=log)


def die(child: SupervisedProcess, now: float, messages: list[str]) -> None:
    process: Any = child.process
    process.code = 3
    child.watch(now, messages.append)


def test_a_child_that_lives_is_left_alone(child: FakeChild) -> None:
    child.start(0.0)
    before = child.process
    child.watch(1.0, lambda _: pytest.fail("nothing to tell"))
    assert child.process is before


def test_a_child_that_dies_is_told_of_with_the_end_of_its_log_and_started_after_a_pause(
    child: FakeChild,
) -> None:
    messages: list[str] = []
    child.start(0.0)
    die(child, 1.0, messages)
    assert messages[0] == "client-ada ended with status 3; starting it again in 0.5 s"
    assert "[/red] a line like markup" in messages[1]
    child.watch(1.0 + FIRST_PAUSE - 0.01, messages.append)
    assert child.process is None
    child.watch(1.0 + FIRST_PAUSE, messages.append)
    assert child.process is not None
    assert child.restarts == 1


def test_pauses_double_while_it_keeps_dying_and_start_anew_once_it_was_healthy(
    child: FakeChild,
) -> None:
    now, pauses = 0.0, []
    child.start(now)
    for _ in range(9):
        die(child, now, [])
        pauses.append(child.start_at - now)
        now = child.start_at
        child.watch(now, lambda _: None)
    assert pauses[:3] == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE]
    assert pauses[-1] == LONGEST_PAUSE
    die(child, now + HEALTHY_AFTER + 1, [])
    assert child.start_at == now + HEALTHY_AFTER + 1 + FIRST_PAUSE


def test_participants_with_the_same_engine_share_a_process() -> None:
    names = [name for name, _ in commands(Settings())]
    assert names == ["coordinator", "evaluator", "server-main", "client-ada-bo-cy"]


def test_participants_with_their_own_engines_have_their_own_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    own = ParticipantSettings(engine=EngineSettings(kind="scripted"))
    found = Settings(clients={"ada": own, "bo": ParticipantSettings(), "cy": own})
    assert list(commands(found)) == [
        ("coordinator", ["coordinator"]),
        ("evaluator", ["evaluator"]),
        ("server-main", ["server", "main", "--threads", "2"]),
        ("client-ada-cy", ["client", "ada", "cy", "--threads", "2"]),
        ("client-bo", ["client", "bo", "--threads", "2"]),
    ]


def test_participants_whose_engines_differ_in_their_adapters_share_a_process() -> None:
    engines = {name: EngineSettings(adapter=name) for name in ("ada", "bo")}
    merged = EngineSettings(adapter="cy", merge_adapter=True)
    found = Settings(
        clients={n: ParticipantSettings(engine=e) for n, e in {**engines, "cy": merged}.items()}
    )
    assert [name for name, _ in commands(found)][3:] == ["client-ada-bo", "client-cy"]


def test_a_machine_with_fewer_cores_than_engines_has_a_thread_for_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert [arguments[-1] for _, arguments in commands(Settings())][2:] == ["1", "1"]


def test_other_shells_find_the_running_stack_and_nobody_else_reads_its_password(
    tmp_path: Path,
) -> None:
    broker, database = "amqp://user:secret@host/colm", "sqlite:////run/x.db"
    Stack(settings=Settings(home=tmp_path, broker=broker, database=database))._write_stack_file()
    path = stack_file(tmp_path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert json.loads(path.read_text())["pid"] == os.getpid()
    assert os.listdir(tmp_path) == ["stack.json"]
    found = load({"COLM_HOME": str(tmp_path)}, tmp_path)
    assert (found.broker, found.database) == (broker, database)
