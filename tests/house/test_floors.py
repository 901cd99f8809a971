"""The floors between the packages hold, without exceptions, and asking stays light."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.repository import FLOORS, ROOT, files, name, setup_cfg

HEAVY = {"torch", "transformers", "sqlalchemy", "psycopg2", "alembic"}


def test_every_import_keeps_to_the_floors() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_import_is_excused() -> None:
    cfg = setup_cfg()
    contracts = [section for section in cfg.sections() if section.startswith("importlinter:")]
    assert len(contracts) >= 4
    assert [section for section in contracts if "ignore_imports" in cfg[section]] == []
    assert cfg["importlinter"]["root_package"] == "colm"


def _import_tasks() -> tuple[float, set[str]]:
    """The processor time of `import colm.tasks` in a fresh interpreter, and what it pulls in.

    Processor time (seconds): other processes of a busy machine do not count.
    """
    program = (
        "import time; start = time.process_time(); import colm.tasks;"
        "took = time.process_time() - start;"
        "import json, sys; print(json.dumps([took, sorted(sys.modules)]))"
    )
    unmeasured = {k: v for k, v in os.environ.items() if not k.startswith("COVERAGE_")}
    command = [sys.executable, "-c", program]
    done = subprocess.run(
        command, cwd=ROOT, env=unmeasured, check=True, capture_output=True, text=True
    )
    took, modules = json.loads(done.stdout)
    return took, set(modules)


def test_importing_tasks_loads_no_engine_and_no_database() -> None:
    _, modules = _import_tasks()
    assert {module.partition(".")[0] for module in modules} & HEAVY == set()


def test_importing_tasks_takes_less_than_300_ms() -> None:
    assert statistics.median(_import_tasks()[0] for _ in range(5)) < 0.3


@pytest.mark.parametrize("folder", [*FLOORS, "migrations"])
def test_each_folder_is_part_of_one_package(folder: str) -> None:
    """A copy beside `colm.FOLDER` would be a second set of classes, settings and tasks."""
    assert (ROOT / "colm" / folder).resolve() == ROOT / folder
    done = subprocess.run(
        [sys.executable, "-c", f"import {folder}.anything"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert folder == "migrations" or f"import colm.{folder}" in done.stderr


def test_setup_cfg_lists_every_package() -> None:
    listed = set(setup_cfg()["options"]["packages"].split())
    found = {"colm"} | {
        "colm." + name(path.parent).replace("/", ".")
        for path in files()
        if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in {*FLOORS, "migrations"}
    }
    assert listed == found
