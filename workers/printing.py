"""What `--json` prints: one value of the record or of a report."""

from __future__ import annotations

import json
import sys
from typing import Any

from pydantic import TypeAdapter


def as_json_has_it(value: Any) -> Any:
    """The value as lists, dicts, texts and numbers; times are ISO 8601."""
    return TypeAdapter(type(value)).dump_python(value, mode="json", warnings=False)


def print_json(value: Any) -> None:
    """Write the value to standard output, indented, with a line's end."""
    json.dump(as_json_has_it(value), sys.stdout, ensure_ascii=False, indent=2)
    sys.stdout.write("\n")
