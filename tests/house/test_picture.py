"""The picture of the house in docs/architecture.md is the tree, and its floors are the imports."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.documents import FENCE
from tests.house.repository import FLOORS, ROOT, files, name, python_files, setup_cfg

PAGE = ROOT / "docs" / "architecture.md"
ENTRY = re.compile(r"^(?P<indent> *)(?P<name>[\w.]+(?:/|\.py)) {2,}\S")
#: Top-level folders with Python files that are not product code.
OTHER_FOLDERS = {"benchmarks", "colm", "examples", "migrations", "tests"}


def _picture() -> str:
    """The text block under the heading `## The house`."""
    section = PAGE.read_text().partition("\n## The house\n")[2].partition("\n## ")[0]
    (block,) = FENCE.finditer(section)
    assert block["language"] == "text"
    return block["text"]


def _floors() -> list[list[list[str]]]:
    """The boxes from top to bottom: the lines of each, and the cells of each line."""
    boxes: list[list[list[str]]] = []
    for line in _picture().splitlines():
        if line.startswith("+"):
            boxes.append([])
        elif line.startswith("|"):
            boxes[-1].append([cell.strip() for cell in line.strip("|").split("|")])
    return [box for box in boxes if box]


def _entries() -> list[str]:
    """The folders (`workers/cli/`) and modules (`workers/ports.py`) of the tree, as paths."""
    entries: list[str] = []
    parents: list[str] = []
    for line in _picture().splitlines():
        if line.startswith(("+", "|")) or not line.strip():
            continue
        entry = ENTRY.match(line)
        assert entry is not None, f"neither a box nor an entry with its words: {line}"
        depth, rest = divmod(len(entry["indent"]), 4)
        assert rest == 0, line
        assert depth <= len(parents), line
        parents = [*parents[:depth], entry["name"]]
        entries.append("".join(parents))
    return entries


def _folders() -> set[str]:
    return {f"{name(path.parent)}/" for path in python_files(*FLOORS)}


def _top_level_modules() -> set[str]:
    modules = (name(path) for path in python_files(*FLOORS) if path.name != "__init__.py")
    return {module for module in modules if module.count("/") == 1}


def test_the_picture_draws_every_folder_and_every_top_level_module_once() -> None:
    entries = _entries()
    assert sorted(entries) == sorted(_folders() | _top_level_modules())


def test_every_folder_is_a_package() -> None:
    assert [folder for folder in _folders() if not (ROOT / folder / "__init__.py").is_file()] == []


def test_no_product_code_lies_outside_the_five_packages() -> None:
    python = [path.relative_to(ROOT) for path in files() if path.suffix == ".py"]
    assert {path.parts[0] for path in python} == {*FLOORS, *OTHER_FOLDERS}
    assert [path for path in python if path.parts[0] == "colm"] == [Path("colm/__init__.py")]


def test_the_floors_are_the_layers_of_the_import_linter() -> None:
    layers = setup_cfg()["importlinter:contract:floors"]["layers"].split("\n")
    expected = [
        [part.strip().removeprefix("colm.") for part in layer.split("|")]
        for layer in layers
        if layer
    ]
    assert [box[0] for box in _floors()] == expected


def _imported_folders(folder: str) -> set[str]:
    """The other folders of `workers` that the modules of one of them import."""
    dotted = {
        module
        for path in python_files("workers")
        if name(path).startswith(f"workers/{folder}/")
        for module in _imports(path)
    }
    parts = {tuple(module.split(".")[:3]) for module in dotted}
    return {part[2] for part in parts if part[:2] == ("colm", "workers") and len(part) == 3} - {
        folder
    }


def _imports(path: Path) -> Iterator[str]:
    """Every module and name that a file imports, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.ImportFrom(module=str(module), names=names):
                yield from (f"{module}.{alias.name}" for alias in names)
            case ast.Import(names=names):
                yield from (alias.name for alias in names)


@pytest.mark.parametrize("process", ["coordinator", "participant", "evaluator"])
def test_the_folders_of_processes_do_not_import_each_other(process: str) -> None:
    top, commands, processes = _floors()[0]
    assert (top, commands) == (["workers"], ["cli"])
    assert process in processes
    assert len(processes) == 3
    assert _imported_folders(process) & set(processes) == set()


def test_no_folder_of_workers_imports_the_commands() -> None:
    below = {folder.split("/")[1] for folder in _folders() if folder.startswith("workers/")} - {
        "cli",
        "",
    }
    assert [folder for folder in below if "cli" in _imported_folders(folder)] == []
