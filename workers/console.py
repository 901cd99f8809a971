"""What `--json` prints: one value of the record or of a report."""

from __future__ import annotations

import json
import sys
from typing import Any

from pydantic import TypeAdapter
from rich.text import Text

from colm.workers.cli.terminal import is_unicode


def as_json_has_it(value: Any) -> Any:
    """The value as lists, dicts, texts and numbers; times are ISO 8601."""
    return TypeAdapter(type(value)).dump_python(value, mode="json", warnings=False)


def print_json(value: Any) -> None:
    """Write the value to standard output, indented, with a line's end."""
    print_plain(as_json_has_it(value))


def print_plain(value: Any, *, indent: int | None = 2) -> None:
    """The same for what is lists, dicts, texts and numbers; escaped where the output must be."""
    json.dump(value, sys.stdout, ensure_ascii=not is_unicode(sys.stdout), indent=indent)
    sys.stdout.write("\n")


#: Control characters but tab and newline, to what stands for them: nobody's text may steer the
#: terminal that shows it.
_VISIBLE = {
    **{code: 0x2400 + code for code in range(0x20) if code not in (0x09, 0x0A)},
    **dict.fromkeys(range(0x7F, 0xA0), 0xFFFD),
    0x0D: None,
}


def plain(text: str, style: str = "") -> Text:
    """A text of somebody else's: without markup, and without what would steer the terminal."""
    return Text(text.encode("utf-8", "replace").decode().translate(_VISIBLE), style=style)
