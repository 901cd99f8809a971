"""Logs stay within their bounds, and a query costs a line."""

from __future__ import annotations

import errno
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from colm.tasks.config.settings import LogSettings
from colm.workers.local_stack.log_rotation import rotate
from colm.workers.process_log import set_log_levels


def test_a_log_within_its_bound_is_left_alone(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    assert not rotate(log, 10, 2)
    log.write_bytes(b"x" * 10)
    assert not rotate(log, 10, 2)
    assert log.read_bytes() == b"x" * 10


def test_so_many_copies_are_kept_and_the_newest_is_the_first(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    for turn in b"abcd":
        log.write_bytes(bytes([turn]) * 11)
        assert rotate(log, 10, 2)
    contents = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert contents == {"a.log": b"", "a.log.1": b"d" * 11, "a.log.2": b"c" * 11}


def test_a_log_is_emptied_though_no_copy_can_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(_log: Path, copy: Path) -> None:
        copy.write_bytes(b"a part")
        raise OSError(errno.ENOSPC, "No space left on device")

    log = tmp_path / "a.log"
    log.write_bytes(b"x" * 11)
    monkeypatch.setattr("shutil.copy2", full)
    assert rotate(log, 10, 2)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a.log", b"")]
    assert "No space left" in caplog.text


def test_a_log_that_cannot_be_emptied_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_log: Path, _length: int) -> None:
        raise PermissionError("not permitted")

    log = tmp_path / "a.log"
    log.write_bytes(b"x" * 11)
    monkeypatch.setattr("os.truncate", refused)
    assert not rotate(log, 10, 2)


def test_a_process_that_appends_goes_on_in_the_emptied_file(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    code = "import sys\nfor line in sys.stdin: print(line.strip(), flush=True)"
    with log.open("ab") as file:
        writer = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=file, text=True
        )
    assert writer.stdin is not None
    writer.stdin.write("before\n")
    writer.stdin.flush()
    while log.read_text() != "before\n":
        pass
    assert rotate(log, 1, 1)
    writer.communicate("after\n")
    assert log.read_text() == "after\n"
    assert (tmp_path / "a.log.1").read_text() == "before\n"


@pytest.fixture
def restored_levels() -> Iterator[None]:
    names = ["celery.app.trace", "colm"]
    levels = {name: logging.getLogger(name).level for name in names}
    yield
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@pytest.mark.usefixtures("restored_levels")
@pytest.mark.parametrize(
    ("level", "told"),
    [("debug", [True, True, True]), ("info", [False, False, True]), ("error", [False] * 3)],
)
def test_the_level_says_whether_each_task_and_step_is_told(level: str, told: list[bool]) -> None:
    set_log_levels(LogSettings.model_validate({"level": level}))
    task, ours = (
        logging.getLogger("celery.app.trace"),
        logging.getLogger("colm.workers.participant.generator"),
    )
    assert [
        task.isEnabledFor(logging.INFO),
        ours.isEnabledFor(logging.DEBUG),
        ours.isEnabledFor(logging.INFO),
    ] == told


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(ValueError, match="level"):
        LogSettings.model_validate({"level": "loud"})
