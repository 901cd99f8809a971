"""The field's language: no name and no docstring in a dialect of our own."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from tests.house.repository import FLOORS, name, python_files

#: Participles and pronouns that hide what a value is.
BANNED_NAMES = frozenset(
    {"asked", "found", "given", "heard", "known", "kept", "meant", "one", "said", "seen", "shown"}
    | {"told", "wanted"}
)
#: Renamed for good; a new use would be a second name for one thing.
FORMER_TERMS = (
    r"Clockwork|PlainHeart|SlowLink|WaitingLine|KeptPrefixes|SlotCache|Tickets|Allowance\b|"
    r"patiently|turn_away|take_back_unacked|hold_alone|run_together|told_of|glancing"
)
#: Fields of messages, stored JSON documents and columns keep their names.
WIRE_NAMES = {
    "models/sandbox/protocol.py": {"kept"},  # CheckReport, stored as the text of a completion
}
SUBJECTLESS = re.compile(r"(What|Who|Whoever|Whom|Whose|Those|That which)\b")
FOLDERS = (*FLOORS, "benchmarks", "examples")


def _bindings(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every name that a file binds: variables, parameters, functions, classes, attributes."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=identifier, ctx=ast.Store()) | ast.arg(arg=identifier):
                yield node.lineno, identifier
            case ast.FunctionDef(name=identifier) | ast.ClassDef(name=identifier):
                yield node.lineno, identifier
            case ast.AsyncFunctionDef(name=identifier):
                yield node.lineno, identifier
            case ast.MatchAs(name=str(identifier)) | ast.MatchStar(name=str(identifier)):
                yield node.lineno, identifier


def _docstrings(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            text = ast.get_docstring(node)
            if text:
                yield getattr(node, "lineno", 1), text


@pytest.mark.parametrize("folder", FOLDERS)
def test_names_are_nouns_of_the_field(folder: str) -> None:
    banned = [
        f"{name(path)}:{line} {identifier}"
        for path in python_files(folder)
        for line, identifier in _bindings(ast.parse(path.read_text()))
        if identifier in BANNED_NAMES - WIRE_NAMES.get(name(path), set())
    ]
    assert banned == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_docstrings_say_what_the_thing_is(folder: str) -> None:
    subjectless = [
        f"{name(path)}:{line} {text.splitlines()[0]}"
        for path in python_files(folder)
        for line, text in _docstrings(ast.parse(path.read_text()))
        if SUBJECTLESS.match(text)
    ]
    assert subjectless == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_former_terms_are_gone(folder: str) -> None:
    left = [
        f"{name(path)}: {match}"
        for path in python_files(folder)
        for match in re.findall(FORMER_TERMS, path.read_text())
    ]
    assert left == []
