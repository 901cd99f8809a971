"""The documents say what is so: links lead somewhere, commands and code in them exist and run."""

from __future__ import annotations

import ast
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from colm.models.messages import Answer, ClientAnswer, Guidance
from colm.models.strategies import STRATEGIES
from colm.workers.cli.main import app
from tests.house.documents import (
    ROOT,
    anchors,
    documents,
    links,
    prose,
    rows,
    snippets,
)
from tests.house.repository import name

README = ROOT / "README.md"
ARCHITECTURE = ROOT / "docs" / "architecture.md"
ANSWERS_PAGE = ROOT / "docs" / "reference" / "answers.md"
WALK_THROUGH = ROOT / "docs" / "how-to" / "write-a-strategy.md"
FOLDERS = ("workers", "tasks", "db", "models")


@pytest.mark.parametrize("document", list(documents()), ids=name)
def test_every_link_leads_to_a_file_and_to_a_heading_in_it(document: Path) -> None:
    lost = [
        link
        for link, file, anchor in links(document)
        if not file.exists() or (anchor and anchor not in anchors(file))
    ]
    assert lost == []


def test_every_picture_is_shown_somewhere() -> None:
    shown = {file for document in documents() for _, file, _ in links(document)}
    assert [path for path in (ROOT / "docs" / "images").iterdir() if path not in shown] == []


def test_every_decision_is_one_page_with_the_same_four_parts() -> None:
    pages = sorted((ROOT / "docs" / "adr").glob("*.md"))
    assert [page.name[:4] for page in pages] == [f"{n:04d}" for n in range(1, len(pages) + 1)]
    for page in pages:
        text = page.read_text()
        assert text.startswith(f"# {page.name[:4]}: "), page
        assert "\nStatus: " in text, page
        headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
        assert headings == ["Context", "Decision", "Consequences"], page
        assert len(text.splitlines()) <= 60, page


def _commands() -> dict[str, Any]:
    group: Any = typer.main.get_command(app)
    return dict(group.commands)


def _command_lines() -> list[tuple[str, list[str]]]:
    """Every `colm ...` in a code block or between backticks, as words after `colm`."""
    found = []
    for document in documents():
        text = document.read_text()
        spans = re.findall(r"`((?:\.venv/bin/)?colm [^`]+)`", prose(document))
        lines = re.findall(r"^ {4}((?:\.venv/bin/)?colm .+)$", text, re.MULTILINE)
        fenced = [line for _, block in snippets("console", document) for line in block.splitlines()]
        for line in (*spans, *lines, *fenced):
            words = shlex.split(re.split(r"\s{3,}", line)[0], comments=True)
            found.append((name(document), words[1:]))
    return found


def test_every_colm_command_in_the_documents_exists_with_its_options() -> None:
    commands, wrong = _commands(), []
    for where, words in _command_lines():
        subcommand, *rest = words
        if subcommand in {"COMMAND", "--help"}:
            continue
        command: Any = commands.get(subcommand)
        for word in rest:  # a group's own command, or the one that it runs unless told otherwise
            if hasattr(command, "commands"):
                command = command.commands.get(word) or command.commands.get("run")
        known = {"--help"} | {o for p in command.params for o in p.opts} if command else set()
        if not command or {word for word in rest if word.startswith("-")} - known:
            wrong.append((where, words))
    assert wrong == []


def test_the_documents_name_every_command() -> None:
    assert {words[0] for _, words in _command_lines()} >= set(_commands())


def test_the_readme_begins_with_what_a_newcomer_needs() -> None:
    text = _first_lines(README)
    assert [
        word for word in ("make demo", "make up", "make test", "make flower") if word not in text
    ] == []
    assert [
        folder for folder in FOLDERS if not re.search(rf"^    {folder}/ ", text, re.MULTILINE)
    ] == []


def test_the_architecture_begins_with_the_steps_of_a_query() -> None:
    text = _first_lines(ARCHITECTURE)
    assert len(re.findall(r"^[1-8]\. .*\]\(\.\./[a-z_/]+\.py\)\)\.$", text, re.MULTILINE)) == 8


def _first_lines(document: Path) -> str:
    return "\n".join(document.read_text().splitlines()[:60])


def test_every_python_example_compiles() -> None:
    examples = list(snippets("python"))
    assert len(examples) >= 4
    for where, text in examples:
        ast.parse(text, filename=where)


def test_every_name_of_the_code_in_the_documents_exists() -> None:
    """`package.module.name` between backticks, with `colm.` before it or without."""
    name_of_code = re.compile(r"`(?:colm\.)?((?:models|tasks|db|evaluation|workers)(?:\.\w+)+)`")
    for document in (ROOT / "docs").rglob("*.md"):
        for dotted in name_of_code.findall(prose(document)):
            assert _exists(dotted), (name(document), dotted)


def _exists(dotted: str) -> bool:
    """Whether a module, or a name defined in a module, is called so. Imports nothing."""
    parts = dotted.split(".")
    for depth in range(len(parts), 0, -1):
        base = ROOT.joinpath(*parts[:depth])
        for file in (base.with_suffix(".py"), base / "__init__.py"):
            if file.is_file():
                return all(re.search(rf"\b{part}\b", file.read_text()) for part in parts[depth:])
    return False


def test_the_example_answer_is_an_answer() -> None:
    ((_, text),) = snippets("json", ANSWERS_PAGE)
    answer = Answer.model_validate_json(text)
    assert answer.model_dump(mode="json") == json.loads(text)


def test_the_answers_page_describes_every_field_and_no_other() -> None:
    described = [row[0].strip("`") for row in rows(ANSWERS_PAGE.read_text(), "field", "type")]
    fields = [*Answer.model_fields, *ClientAnswer.model_fields, *Guidance.model_fields]
    assert described == fields


def test_the_answers_page_names_only_errors_that_exist() -> None:
    errors = (ROOT / "models" / "errors.py").read_text()
    named = [row[0].strip("`") for row in rows(ANSWERS_PAGE.read_text(), "error", "raised by")]
    assert len(named) >= 8
    ours = [error for error in named if not error.startswith("Celery's")]
    assert [error for error in ours if f"class {error}(" not in errors] == []


def test_the_strategy_of_the_walk_through_works(monkeypatch: pytest.MonkeyPatch) -> None:
    module, entry, tests = (text for _, text in snippets("python", WALK_THROUGH))
    names: dict[str, Any] = {"__name__": "relay"}
    exec(compile(module, "models/strategies/relay.py", "exec"), names)  # the page's own code
    assert '"relay": Relay()' in entry
    monkeypatch.setitem(STRATEGIES, "relay", names["Relay"]())
    exec(compile(tests, "tests/unit/test_strategy_relay.py", "exec"), names)
    ran = [run() for test, run in names.items() if test.startswith("test_")]
    assert len(ran) == 3
