"""`colm up` and `colm demo`: the whole stack on one machine."""

from __future__ import annotations

import os
import re
import signal
import sys
from functools import partial
from pathlib import Path

import pytest

from colm.models.engines.native.precision import processor_has_bfloat16
from tests.journeys.site import Site

PATIENCE = 60


def _lines_with(text: str, folder: Path) -> list[str]:
    logs = (folder / "home" / "logs").glob("*.log")
    return [line for log in logs for line in log.read_text().splitlines() if text in line]


def test_up_answers_from_another_shell_restarts_a_dead_child_and_stops_cleanly(site: Site) -> None:
    site.configure("ada", "bo")
    site.variables["COLM_LOG__LEVEL"] = "info"
    site.start("up")
    log = site.folder / "up.log"
    site.wait_until(lambda: "ready" in log.read_text(), timeout=PATIENCE)
    first = site.ask("Are you up?", {"rounds": 1})
    assert first["status"] == "answered"
    site.wait_until(lambda: len(_lines_with(first["query_id"], site.folder)) > 0)

    killed = _pid_of("client-ada-bo", log)
    os.kill(killed, signal.SIGKILL)
    site.wait_until(lambda: "client-ada-bo ended with status -9" in log.read_text())

    assert site.ask("Are you still up?", {"rounds": 1})["status"] == "answered"
    assert (site.folder / "home" / "stack.json").exists()
    assert site.stop("up", within=PATIENCE) == 0
    (line,) = _lines_with(first["query_id"], site.folder)  # of all processes: a query costs a line
    assert "answered by colm in" in line
    assert not (site.folder / "home" / "stack.json").exists()
    assert not any(_mentions(pid, site.folder) for pid in _python_processes())


def test_a_second_stack_in_the_same_home_is_refused(tmp_path: Path) -> None:
    home = Path(f"/tmp/colm-{os.getpid()}")
    site = Site(tmp_path, broker="unused", database="unused")
    site.configure("ada")
    config = site.folder / "colm.toml"
    kept = [line for line in config.read_text().splitlines() if "unused" not in line]
    config.write_text("\n".join(kept).replace(str(tmp_path / "home"), str(home)))
    try:
        site.start("up")
        site.wait_until(lambda: "ready" in (site.folder / "up.log").read_text(), timeout=PATIENCE)

        assert "another stack" in site.colm("up", status=1)
        assert site.ask("Does the first one still work?", {"rounds": 1})["status"] == "answered"
        assert site.stop("up", within=PATIENCE) == 0
    finally:
        site.close()


def test_a_stack_of_many_clients_comes_back_in_any_home_after_it_was_killed(
    tmp_path: Path,
) -> None:
    home = tmp_path / "feature%2Flogin" / "what?" / ("deep" * 30)  # too deep for a socket, too
    clients = [f"student-{number:02}-{'x' * 29}" for number in range(24)]
    site = Site(tmp_path, broker="unused", database="unused")
    site.configure(*clients)
    config = site.folder / "colm.toml"
    kept = [line for line in config.read_text().splitlines() if "unused" not in line]
    config.write_text("\n".join(kept).replace(str(tmp_path / "home"), str(home)))
    try:
        for start in ("first", "second"):
            site.start("up", known_as=start)
            log = site.folder / f"{start}.log"
            site.wait_until(partial(_says, log, "ready"), timeout=PATIENCE)
            answer = site.ask(f"The {start} question?", {"rounds": 1})
            assert answer["status"] == "answered"
            assert {one["status"] for one in answer["clients"].values()} == {"refined"}
            if start == "first":
                site.kill(start)
                path = home / "stack.json"  # a process that lives, as after a reboot
                path.write_text(
                    path.read_text().replace('"pid": ', f'"pid": {os.getpid()}, "was": ')
                )
        assert site.stop("second", within=PATIENCE) == 0
    finally:
        site.close()
    assert (home / "record.sqlite").stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in tmp_path.glob("feature*")) == ["feature%2Flogin"]


@pytest.mark.model
def test_the_demo_runs_a_real_model_from_question_to_refined_answers(tmp_path: Path) -> None:
    site = Site(tmp_path, broker="unused", database="unused")
    # Short, for a unix socket; the cache is the user's own, so that the model is fetched once.
    (tmp_path / "colm.toml").write_text(f'home = "/tmp/colm-demo-{os.getpid()}"\n')

    shown = site.colm("demo", "Why does ice float on water?", timeout=280)

    assert len(re.findall(r"draft · (ada|bo|cy)", shown)) == 3
    assert len(re.findall(r"refined · (ada|bo|cy)", shown)) == 3
    assert "guidance · round 1 · main" in shown
    assert "completed" in shown
    (query,) = re.findall(r"colm show (\w+)", shown)
    life = site.colm("show", query)
    dtype = "bfloat16" if processor_has_bfloat16() else "float32"
    assert f"SmolLM2-135M-Instruct (transformers, {dtype}, cpu)" in " ".join(life.split())


def _says(log: Path, word: str) -> bool:
    return word in log.read_text()


def _pid_of(child: str, log: Path) -> int:
    (pid,) = re.findall(rf"{child}\s+(\d+)", log.read_text())
    return int(pid)


def _python_processes() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _mentions(pid: int, folder: Path) -> bool:
    """Whether the process was started for the site in `folder`."""
    if pid == os.getpid():
        return False
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False
    return f"COLM_HOME={folder}".encode() in environment


if sys.platform != "linux":
    pytest.skip("processes are looked up in /proc", allow_module_level=True)
