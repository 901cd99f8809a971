"""One server process for each GPU: named rightly, started together, ended together."""

from __future__ import annotations

import sys
import threading
import time

import pytest
from typer.testing import CliRunner

from colm.models.engine_settings import EngineSettings
from colm.models.errors import SettingsError
from colm.workers.cli.main import app
from colm.workers.participant import process
from colm.workers.participant.devices import parse_devices, server_command
from colm.workers.supervisor import run_process_group


def test_devices_are_listed_by_number() -> None:
    assert parse_devices("0", 1) == ["cuda:0"]
    assert parse_devices("0,2", 4) == ["cuda:0", "cuda:2"]


@pytest.mark.parametrize(
    ("text", "available", "why"),
    [
        ("", 2, "no list of numbers"),
        ("cuda:0", 2, "no list of numbers"),
        ("0,0", 2, "twice"),
        ("0,2", 2, "sees 2 of them"),
        ("0", 0, "sees none"),
    ],
)
def test_devices_that_cannot_be_had_are_refused(text: str, available: int, why: str) -> None:
    with pytest.raises(SettingsError, match=why):
        parse_devices(text, available)


def test_without_a_gpu_the_command_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("colm.workers.participant.devices.cuda_devices", lambda: 0)

    result = CliRunner().invoke(app, ["server", "--devices", "0,1"])

    assert isinstance(result.exception, SettingsError)
    assert "sees none" in str(result.exception)


def test_each_process_runs_the_same_command_on_its_device() -> None:
    assert server_command(["main"], 4, "cuda:1") == [
        sys.executable, "-m", "colm.workers", "server", "main", "--device", "cuda:1", "--threads",
        "4",
    ]  # fmt: skip
    assert "--threads" not in server_command([], None, "cuda:0")


def test_a_device_replaces_the_engines_own() -> None:
    assert process._on_device(EngineSettings(), "cuda:1").device == "cuda:1"
    with pytest.raises(SettingsError, match="none of auto"):
        process._on_device(EngineSettings(), "gpu")


def _python(program: str) -> list[str]:
    return [sys.executable, "-c", program]


def test_when_one_process_ends_all_end_with_its_status() -> None:
    started = time.monotonic()

    code = run_process_group(
        [_python("import time; time.sleep(60)"), _python("raise SystemExit(3)")],
        stopped=threading.Event().wait,
    )

    assert code in (3, -15)  # the first in the list that failed: told to end, or ended by itself
    assert time.monotonic() - started < 30


def test_all_are_told_to_end_when_the_command_is() -> None:
    patient = "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(0)); time.sleep(60)"
    calls: list[float] = []

    def stop(seconds: float) -> bool:
        calls.append(seconds)
        time.sleep(1.0)
        return True

    assert run_process_group([_python(patient)] * 2, stopped=stop) == 0
    assert len(calls) == 1
