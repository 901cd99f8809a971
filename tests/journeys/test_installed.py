"""The wheel beside a user's own modules, whose names are those of our folders."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import time
import venv
import zipfile
from pathlib import Path

import pytest

from tests.house.repository import ROOT, files

THEIRS = "raise RuntimeError('this module is the user\\'s own')\n"
SITE = """\
[servers.main.engine]
kind = "scripted"
reply = "ada: look again"
[clients.ada.engine]
kind = "scripted"
reply = "client says: {last}"
"""
ASK = """\
import json
from colm import tasks
print(json.dumps(tasks.ask.delay("Why is the sky blue?").get(timeout=120)))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # a build leaves files beside what it builds
    for path in [*files(), *(ROOT / "colm").iterdir()]:
        to = source / path.relative_to(ROOT)
        to.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink():
            to.symlink_to(path.readlink())
        elif path.is_file():
            shutil.copyfile(path, to)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--wheel-dir", folder, source], check=True)
    return next(folder.glob("colm-*.whl"))


@pytest.fixture
def python(wheel: Path, tmp_path: Path) -> Path:
    """An interpreter with the wheel and its dependencies, and without this repository."""
    venv.create(tmp_path / "venv", with_pip=False)
    site_packages = next((tmp_path / "venv").glob("lib/python*/site-packages"))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site_packages)
    # The .pth files of the other folder, which name this repository, are not read.
    (site_packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return tmp_path / "venv" / "bin" / "python"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project of a user's own."""
    project = tmp_path / "project"
    for module in ("tasks.py", "db.py", "workers.py", "evaluation.py", "models/__init__.py"):
        (project / module).parent.mkdir(parents=True, exist_ok=True)
        (project / module).write_text(THEIRS)
    (project / "colm.toml").write_text(SITE)
    (project / "mine.py").write_text(ASK)
    return project


def test_a_wheel_holds_one_package(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"colm"}
    assert {"colm/migrations/env.py", "colm/evaluation/report/report.html"} <= set(names)


@pytest.mark.transport
def test_a_question_is_answered_beside_modules_of_the_same_names(
    python: Path, folder: Path, tmp_path: Path
) -> None:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("COLM_", "PYTHONPATH"))}
    environment = {**kept, "COLM_HOME": str(tmp_path / "home"), "NO_COLOR": "1"}
    with (tmp_path / "up.log").open("wb") as log:
        up = subprocess.Popen(
            [python, "-m", "colm.workers", "up"],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=log,
        )
    try:
        while b"ready" not in (tmp_path / "up.log").read_bytes():
            assert up.poll() is None, (tmp_path / "up.log").read_text()
            time.sleep(0.2)
        asked = subprocess.run(
            [python, "mine.py"], cwd=folder, env=environment, capture_output=True, text=True,
            timeout=200, check=False,
        )  # fmt: skip
    finally:
        up.terminate()
        ended = up.wait(60)
    assert asked.returncode == 0, asked.stderr + (tmp_path / "up.log").read_text()
    assert json.loads(asked.stdout)["answer"].startswith("client says")
    assert ended == 0
