"""Printing of JSON and of untrusted text to the console."""

from __future__ import annotations

import codecs
import json
import sys
from typing import Any

from pydantic import TypeAdapter
from rich.text import Text


def to_json_value(value: Any) -> Any:
    """The value as lists, dicts, strings and numbers; times are ISO 8601."""
    return TypeAdapter(type(value)).dump_python(value, mode="json", warnings=False)


def print_json(value: Any) -> None:
    """Write a dataclass or pydantic value to standard output as indented JSON."""
    print_plain(to_json_value(value))


def print_plain(value: Any, *, indent: int | None = 2) -> None:
    """Write lists, dicts, strings and numbers as JSON, ASCII only unless the output is Unicode."""
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    ascii_only = not codecs.lookup(encoding).name.startswith("utf")
    json.dump(value, sys.stdout, ensure_ascii=ascii_only, indent=indent)
    sys.stdout.write("\n")


#: Visible substitutes of control characters except tab and newline, which could steer a terminal.
_VISIBLE = {
    **{code: 0x2400 + code for code in range(0x20) if code not in (0x09, 0x0A)},
    **dict.fromkeys(range(0x7F, 0xA0), 0xFFFD),
    0x0D: None,
}


def plain(text: str, style: str = "") -> Text:
    """Untrusted text without markup and without control characters."""
    return Text(text.encode("utf-8", "replace").decode().translate(_VISIBLE), style=style)
