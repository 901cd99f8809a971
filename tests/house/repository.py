"""The repository as the house tests read it: its files, its settings, its code."""

from __future__ import annotations

import ast
import configparser
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
FLOORS = ("models", "db", "evaluation", "tasks", "workers")


@cache
def files() -> tuple[Path, ...]:
    """Every file that git keeps or would keep."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return tuple(path for name in listing.split("\0") if name and (path := ROOT / name).is_file())


def python_files(*folders: str) -> Iterator[Path]:
    """The Python files below these top-level folders; all without any."""
    for path in files():
        if path.suffix == ".py" and (not folders or path.relative_to(ROOT).parts[0] in folders):
            yield path


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def lines(path: Path) -> Iterator[tuple[str, str]]:
    """Each line of a text file, with where it is."""
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        yield f"{name(path)}:{number}", line


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Every function of a file, with its length in lines."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert node.end_lineno is not None
            yield f"{name(path)}:{node.lineno} {node.name}", node.end_lineno - node.lineno + 1


@cache
def setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser
