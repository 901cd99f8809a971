"""docs/reference/settings.md lists every setting with its type and default, and no other."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from colm.models.engines.openai.wire import Failure, Told, may_pass
from colm.models.strategies import STRATEGIES
from colm.models.strategies.format_options import FormatOptions
from colm.tasks.config.settings import Settings, load
from tests.house.documents import ROOT, Row, rows, snippets

CONFIGURATION = ROOT / "docs" / "reference" / "settings.md"
STRATEGY_PAGE = ROOT / "docs" / "reference" / "strategies.md"
WORDS: dict[Any, str] = {
    str: "text", int: "integer", float: "number", bool: "boolean", Path: "folder", dict: "table",
    tuple: "list",
}  # fmt: skip


def _kind(annotation: Any) -> str:
    """The type of a key in words; constraints come after it."""
    if get_origin(annotation) in (UnionType, Union):
        annotation = next(kind for kind in get_args(annotation) if kind is not type(None))
    if hasattr(annotation, "__metadata__"):
        annotation = annotation.__origin__
    if get_origin(annotation) is Literal:
        return " or ".join(f"`{choice}`" for choice in get_args(annotation))
    return WORDS[get_origin(annotation) or annotation]


def _bounds(field: FieldInfo) -> str:
    """`>= 1, <= 8` and the like, as the field has them."""
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    found = [
        f"{sign} {_plain(getattr(constraint, name))}"
        for constraint in field.metadata
        for name, sign in signs.items()
        if hasattr(constraint, name)
    ]
    return ", ".join(found)


def _plain(value: Any) -> str:
    """A value as TOML writes it; nothing for none."""
    match value:
        case None:
            return "none"
        case bool():
            return str(value).lower()
        case 9223372036854775808:
            return "2^63"
        case int() | float():
            return f"{value:g}" if isinstance(value, float) else str(value)
        case tuple():
            return "[]" if not value else repr(list(value))
        case _:
            return f'"{value}"'


def _described(field: FieldInfo) -> tuple[str, str]:
    bounds = _bounds(field)
    kind = _kind(field.annotation) + (f", {bounds}" if bounds else "")
    default = field.get_default(call_default_factory=True)
    if default is None:
        return kind, "none"
    return kind, "`{}`" if default == {} else f"`{_plain(default)}`"


def _keys(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every key below `model` that holds a value; NAME stands for a participant's name."""
    for name, field in model.model_fields.items():
        kind: Any = field.annotation
        if get_origin(kind) is dict and _is_table(get_args(kind)[1]):
            yield from _keys(get_args(kind)[1], f"{prefix}{name}.NAME.")
        elif _is_table(kind):
            yield from _keys(kind, f"{prefix}{name}.")
        elif field is not Settings.model_fields["strategies"]:  # their options have a page
            yield f"{prefix}{name}", field


def _is_table(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _expected() -> dict[str, tuple[str, str]]:
    """What the page has to say. Servers have the keys of clients, and are told of with them."""
    return {
        key: _described(field) for key, field in _keys(Settings) if not key.startswith("servers.")
    }


def _documented() -> dict[str, Row]:
    return {row[0].strip("`"): row for row in rows(CONFIGURATION.read_text(), "key", "type")}


def test_the_page_lists_every_key_with_its_type_and_default() -> None:
    documented = {key: (row[1], row[2]) for key, row in _documented().items()}
    assert documented == _expected()


def test_the_page_says_which_statuses_are_tried_again() -> None:
    again: set[int] = set()
    for status, follows in rows(CONFIGURATION.read_text(), "status", "what follows"):
        if follows.startswith("retried"):
            listed, _, never = status.partition(" except ")
            first, _, last = listed.partition(" to ")
            span = range(int(first), int(last) + 1) if last else map(int, listed.split(", "))
            again |= {*span} - {int(number) for number in never.split(", ") if number}
    passing = {s for s in range(300, 600) if may_pass(Failure(status=s, told=Told()))}
    assert again == passing


def test_the_page_says_what_every_key_is_for() -> None:
    assert [key for key, row in _documented().items() if len(row[3]) < 10] == []


def test_servers_take_the_keys_of_clients() -> None:
    fields = Settings.model_fields
    assert fields["servers"].annotation == fields["clients"].annotation


def test_the_examples_in_toml_are_settings(tmp_path: Path) -> None:
    examples = list(snippets("toml"))
    assert len(examples) >= 3
    for where, text in examples:
        tomllib.loads(text)
        (tmp_path / "colm.toml").write_text(text)
        load({"COLM_HOME": str(tmp_path)}, tmp_path), where


def test_the_variables_named_are_settings() -> None:
    """Each COLM_NAME__NAME in a document is a path that settings know."""
    known = {key.replace(".", "__").upper() for key, _ in _keys(Settings)}
    pattern = re.compile(r"\bCOLM_(?!TEST_|CONFIG\b)([A-Z][A-Z_]*[A-Z])")
    guides = [
        path for folder in ("how-to", "tutorial") for path in (ROOT / "docs" / folder).iterdir()
    ]
    for path in (CONFIGURATION, ROOT / "README.md", *guides):
        for variable in pattern.findall(path.read_text()):
            generic = re.sub(r"^(CLIENTS|SERVERS)__[A-Z]+__", r"\1__NAME__", variable)
            strategy = re.fullmatch(r"STRATEGIES__([A-Z]+)__(\w+)", variable)
            if strategy:
                options = STRATEGIES[strategy[1].lower()].options.model_fields
                assert strategy[2].lower() in options, variable
            else:
                assert generic in known, variable


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_strategies_page_lists_every_option_with_its_default(strategy: str) -> None:
    text = STRATEGY_PAGE.read_text()
    section = re.search(rf"^## `{strategy}`\n(.*?)(?=^## )", text, re.MULTILINE | re.DOTALL)
    assert section is not None
    table = _options(section[1])
    fields = STRATEGIES[strategy].options.model_fields
    if issubclass(STRATEGIES[strategy].options, FormatOptions):
        shared = _options(text.partition("\n## Answer format\n")[2].partition("\n## ")[0])
        assert set(shared) == set(FormatOptions.model_fields)
        assert not set(shared) & set(table)
        table |= shared
    assert set(table) == set(fields)
    for name, field in fields.items():
        if field.default is not None:
            assert table[name] == f"`{_plain(field.default)}`"


def _options(text: str) -> dict[str, str]:
    """Default of each option of the tables in `text`."""
    return {cells[0].strip("`"): cells[2] for cells in rows(text, "option", "type", "default")}
