"""Values of a row as sources hold them: texts, numbers, lists, and lists that a table writes as
text. Pure.

A value that cannot stand for what it should raises UnusableRow, which says why.
"""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

Row = Mapping[str, Any]

#: Texts by which tables write that there is no value.
NO_VALUES: Final = frozenset({"nan", "<na>", "nat", "null"})
_LIST_STARTS = ("[", "(", "{", "array(")
#: A string as Python writes it, and what parts it from another one that follows without a comma.
_STRING = re.compile(r"""('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")(\s*(?=['"]))?""", re.S)


class UnusableRow(ValueError):
    """A row that is no example of its format."""


class Cell(str):
    """A text of a table. It may write a list, which a table cannot hold otherwise."""


def given(row: Row, name: str) -> Any:
    """What the row has under `name`; None where it has nothing, null or NaN."""
    value = row.get(name)
    return None if isinstance(value, float) and math.isnan(value) else value


def field(row: Row, name: str, setting: str = "") -> Any:
    """What the row has under `name`, which `setting` may change. Raises UnusableRow for nothing."""
    value = given(row, name)
    if value is not None:
        return value
    if name in row:
        raise UnusableRow(f"{name!r} holds no value")
    hint = f": set {setting}" if setting else ""
    raise UnusableRow(f"no field {name!r}; it has {', '.join(map(str, row)) or 'none'}{hint}")


def text(row: Row, name: str, setting: str = "") -> str:
    """The text under `name`, which may not be blank."""
    value = field(row, name, setting)
    if not isinstance(value, str) or not value.strip():
        raise UnusableRow(f"{name!r} is no text, or empty")
    return str(value)


def texts(value: Any, name: str) -> tuple[str, ...]:
    """One text or many; numbers and booleans as they are written. None and "" are none."""
    if value is None or value == "":
        return ()
    many = value if isinstance(value, (list, tuple)) else [value]
    return tuple(written(one, name) for one in many)


def written(value: Any, name: str) -> str:
    """A text, a number or a boolean as text. Raises UnusableRow for all else, and for a blank."""
    if isinstance(value, float) and not math.isfinite(value):
        raise UnusableRow(f"{name!r} holds {value}, which is no number")
    if not isinstance(value, (str, int, float)):
        raise UnusableRow(f"{name!r} holds {_kind_of(value)} where a text or a number belongs")
    if isinstance(value, str) and not value.strip():
        raise UnusableRow(f"{name!r} holds an empty text")
    return str(value)


def answers(value: Any, name: str) -> tuple[str, ...]:
    """The right answers. A cell of a table may write a list of texts; an object may hold `text`."""
    if isinstance(value, Cell):
        found = listed(value)
        is_list = isinstance(found, list) and all(isinstance(one, str) for one in found)
        if is_list or (isinstance(found, dict) and "text" in found):
            value = found
    if isinstance(value, Mapping) and "text" in value:
        value = value["text"]
    found = texts(value, name)
    if empty := [one for one in found if one.strip().casefold() in NO_VALUES]:
        raise UnusableRow(f"{name!r} is {empty[0]!r}, which stands for no value")
    return found


def code(value: Any, name: str) -> str:
    """Python as the row has it: one text, a list of them, or a text that writes such a list."""
    if isinstance(value, str):
        value = listed(value)
    many = [] if value is None else value if isinstance(value, list | tuple) else [value]
    if not all(isinstance(one, str) for one in many):
        raise UnusableRow(f"{name} is no text, and no list of texts")
    return "\n".join(many).strip()


def listed(value: str) -> Any:
    """The list or object that a text writes, as Python, JSON or NumPy do; else the text itself."""
    stripped = value.strip()
    if not stripped.startswith(_LIST_STARTS):
        return value
    try:
        found = json.loads(stripped)
    except (ValueError, RecursionError):
        found = _literal(stripped)
    return found if isinstance(found, (list, dict)) else value


def _literal(source: str) -> Any:
    """NumPy writes no commas between texts, and Python would make one text of two."""
    source = _STRING.sub(lambda m: m[1] if m[2] is None else m[1] + ",", source)
    try:
        return _value(ast.parse(source, mode="eval").body)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _value(node: ast.expr) -> Any:
    if isinstance(node, (ast.List, ast.Tuple, ast.Set)):
        return [_value(one) for one in node.elts]
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
