"""Code that is read often stays short."""

from __future__ import annotations

import statistics

import pytest

from tests.house.repository import FLOORS, functions, name, python_files

MAX_LINES = 400
#: Files that would read worse in two: every message, and every setting, in one place.
LONG_FILES = {"models/messages.py", "tasks/config/settings.py"}


@pytest.mark.parametrize("folders", [FLOORS, ("tests", "benchmarks")], ids="-".join)
def test_nine_functions_of_ten_fit_in_25_lines(folders: tuple[str, ...]) -> None:
    lengths = [length for path in python_files(*folders) for _, length in functions(path)]
    assert statistics.quantiles(lengths, n=10)[-1] <= 25


def _longer_than(limit: int, *folders: str) -> dict[str, int]:
    lengths = {name(path): len(path.read_text().splitlines()) for path in python_files(*folders)}
    return {path: length for path, length in lengths.items() if length > limit}


def test_a_file_has_at_most_400_lines() -> None:
    assert set(_longer_than(MAX_LINES, *FLOORS, "tests", "benchmarks")) <= LONG_FILES
