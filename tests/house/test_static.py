"""Format, lint and types: `make check` without the floors, which test_floors.py holds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.repository import ROOT


@pytest.mark.timeout(1500)  # mypy without a cache, beside other tests
@pytest.mark.parametrize("command", ["mypy", "ruff check", "ruff format --check"])
def test_a_checker_finds_nothing(command: str) -> None:
    program, *arguments = command.split()
    path = Path(sys.executable).with_name(program)
    done = subprocess.run([path, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
