"""Values of a row: texts, numbers, lists, and lists that a table writes as text. Pure.

An unusable value raises UnusableRow with the reason.
"""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

Row = Mapping[str, Any]

#: Texts for a missing value in tables.
NO_VALUES: Final = frozenset({"nan", "<na>", "nat", "null"})
_LIST_STARTS = ("[", "(", "{", "array(")
#: A Python string literal, and the gap before another that follows without a comma.
_STRING = re.compile(r"""('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")(\s*(?=['"]))?""", re.S)


class UnusableRow(ValueError):
    """A row that does not fit its format."""


class Cell(str):
    """The text of a table's cell, which may be the literal of a list."""


def value_of(row: Row, name: str) -> Any:
    """The value under `name`; None if it is missing, null or NaN."""
    value = row.get(name)
    return None if isinstance(value, float) and math.isnan(value) else value


def field(row: Row, name: str, setting: str = "") -> Any:
    """The value under `name`; `setting` can change that name. Raises UnusableRow if missing."""
    value = value_of(row, name)
    if value is not None:
        return value
    if name in row:
        raise UnusableRow(f"{name!r} holds no value")
    hint = f": set {setting}" if setting else ""
    raise UnusableRow(f"no field {name!r}; it has {', '.join(map(str, row)) or 'none'}{hint}")


def text(row: Row, name: str, setting: str = "") -> str:
    """The text under `name`. Raises UnusableRow if it is blank."""
    value = field(row, name, setting)
    if not isinstance(value, str) or not value.strip():
        raise UnusableRow(f"{name!r} is empty or not a text")
    return str(value)


def texts(value: Any, name: str) -> tuple[str, ...]:
    """One text or several; numbers and booleans become text. None and "" give ()."""
    if value is None or value == "":
        return ()
    many = value if isinstance(value, (list, tuple)) else [value]
    return tuple(as_text(item, name) for item in many)


def as_text(value: Any, name: str) -> str:
    """A text, number or boolean as text. Raises UnusableRow for others and for a blank."""
    if isinstance(value, float) and not math.isfinite(value):
        raise UnusableRow(f"{name!r} holds {value}, which is not a number")
    if not isinstance(value, (str, int, float)):
        raise UnusableRow(f"{name!r} holds {_kind_of(value)} where a text or a number belongs")
    if isinstance(value, str) and not value.strip():
        raise UnusableRow(f"{name!r} holds an empty text")
    return str(value)


def answers(value: Any, name: str) -> tuple[str, ...]:
    """The right answers: texts, the literal of a list in a table's cell, or an object's `text`."""
    if isinstance(value, Cell):
        parsed = parse_list(value)
        is_list = isinstance(parsed, list) and all(isinstance(item, str) for item in parsed)
        if is_list or (isinstance(parsed, dict) and "text" in parsed):
            value = parsed
    if isinstance(value, Mapping) and "text" in value:
        value = value["text"]
    parsed = texts(value, name)
    if empty := [item for item in parsed if item.strip().casefold() in NO_VALUES]:
        raise UnusableRow(f"{name!r} is {empty[0]!r}, which means no value")
    return parsed


def code(value: Any, name: str) -> str:
    """Python code from one text, a list of texts, or the literal of such a list."""
    if isinstance(value, str):
        value = parse_list(value)
    many = [] if value is None else value if isinstance(value, list | tuple) else [value]
    if not all(isinstance(item, str) for item in many):
        raise UnusableRow(f"{name} is neither a text nor a list of texts")
    return "\n".join(many).strip()


def parse_list(value: str) -> Any:
    """The list or object of a Python, JSON or NumPy literal; else the text itself."""
    stripped = value.strip()
    if not stripped.startswith(_LIST_STARTS):
        return value
    try:
        parsed = json.loads(stripped)
    except (ValueError, RecursionError):
        parsed = _literal(stripped)
    return parsed if isinstance(parsed, (list, dict)) else value


def _literal(source: str) -> Any:
    """The value of a literal. NumPy omits commas between strings: Python would join them."""
    source = _STRING.sub(lambda m: m[1] if m[2] is None else m[1] + ",", source)
    try:
        return _value(ast.parse(source, mode="eval").body)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _value(node: ast.expr) -> Any:
    if isinstance(node, (ast.List, ast.Tuple, ast.Set)):
        return [_value(item) for item in node.elts]
    if isinstance(node, ast.Dict) and None not in node.keys:
        return {_value(k): _value(v) for k, v in zip(node.keys, node.values, strict=True) if k}
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "array" and node.args:
        return _value(node.args[0])
    if isinstance(node, ast.Name) and node.id == "nan":
        return math.nan
    return ast.literal_eval(node)


def _kind_of(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, Mapping):
        return "an object"
    return "a list" if isinstance(value, Sequence) else f"a {type(value).__name__}"
