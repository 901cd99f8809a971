"""The placeholders of erased texts. Readers of the record accept them as values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ERASED = "[erased]"
#: The note of an answer whose texts are erased.
NOTE = "the texts of this query were erased"


def placeholder_of(table: str, column: str, value: Any) -> Any:
    """The placeholder for the text `value` of that column. Idempotent."""
    if value is None:
        return None
    match table, column:
        case "steps", "messages":
            return [{"role": "user", "content": ERASED}]
        case "steps", "choices":
            return [ERASED]
        case "answers", "answer":
            return _answer(value)
        case ("queries", "options") | ("outcomes", "choice_logprobs") | ("decisions", "detail"):
            return {}
        case _:
            return ERASED


def _answer(document: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of an answer without its words."""
    return {
        **document,
        **_without(document, "answer", "chosen_because", "reason"),
        "clients": {
            name: {**client, **_without(client, "draft", "refined", "reason")}
            for name, client in document["clients"].items()
        },
        "guidance": [{**each, "text": ERASED} for each in document["guidance"]],
        "detail": {},
        "notes": [NOTE],
    }


def _without(document: Mapping[str, Any], *names: str) -> dict[str, str | None]:
    return {name: None if document.get(name) is None else ERASED for name in names}
