"""Validation of a message before Celery reads it.

Celery trusts headers and body: a malformed message can end its consumer, or is acked and lost. Only
our tasks are accepted, from the right exchange, without options by which Celery would publish, and
within bounds on size and nesting.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

from kombu import Message, compression

from colm.tasks.broker.topology import ASK, DRAFTS

#: The largest body: a panel of 320,000 characters, each escaped as twelve bytes, needs half of it.
MAX_BODY_BYTES = 8 * 2**20
#: The deepest nesting of lists and objects; a submission has five levels.
MAX_DEPTH = 32
#: The longest header that is a string (characters).
MAX_HEADER_CHARS = 4_000
#: The compressions of kombu. A few bytes can decompress to all memory.
COMPRESSIONS = (*compression.encoders(), "application/zstd", "application/x-brotli")

#: The tasks accepted from the two exchanges that others than coordinators may publish to.
BY_EXCHANGE = {
    ASK: {"colm.ask", "colm.cancel", "colm.evaluate"},
    DRAFTS: {"colm.submit", "colm.attempt"},
}
#: Options in a message's body that make Celery publish further messages.
ORDERS = ("callbacks", "errbacks", "chain", "chord")
#: Headers by which Celery delays a message, drops it, or counts it in a group.
TIMES = ("eta", "expires", "group")
#: The longest task id, that of a step's submission (characters).
MAX_ID = 300

#: Headers of Celery features that are not accepted, with their unset values.
_UNUSED: Mapping[str, tuple[Any, ...]] = {
    "chord": (None,),
    "compression": (None,),
    "shadow": (None,),
    "stamped_headers": (None, []),
    "stamps": (None, {}),
    "timelimit": (None, [None, None], (None, None)),
}
_TEXTS = ("argsrepr", "kwargsrepr", "lang", "origin", "parent_id", "root_id")
_NUMBERS = ("replaced_task_nesting", "retries")


def validate_message(message: Message, tasks: Container[str]) -> str | None:
    """Why a task message is rejected; None if it is valid. Never raises for its content.

    `tasks` are the names of the registered tasks.
    """
    return _wrong_form(message) or rejection_reason(message) or _wrong_content(message, tasks)


def disable_decompression() -> None:
    """Make kombu reject compressed messages in this process."""
    for name in COMPRESSIONS:
        compression.register(_refuse, _refuse, name)


def depth_of(value: object, most: int) -> int:
    """The nesting depth of lists and objects in `value`, at most `most` + 1."""
    level, depth = [value], 0
    while depth <= most:
        level = [inner for outer in level for inner in _inside(outer)]
        if not level:
            return depth
        depth += 1
    return depth


def _inside(value: object) -> list[object]:
    match value:
        case dict():
            return [*value.values(), None]
        case list():
            return [*value, None]
        case _:
            return []


def _refuse(_body: bytes) -> bytes:
    raise ValueError("compressed messages are not taken")


def _wrong_form(message: Message) -> str | None:
    if message.errors or _header(message, "compression"):
        return "it is compressed, or cannot be unpacked"
    if message.content_type != "application/json":
        return f"its content type is {str(message.content_type)[:100]!r}, not application/json"
    if str(message.content_encoding).lower() != "utf-8":
        return f"its content encoding is {str(message.content_encoding)[:100]!r}, not utf-8"
    size = len(message.body or b"")
    if size > MAX_BODY_BYTES:
        return f"its body has {size} bytes, and may have {MAX_BODY_BYTES}"
    return None


def _header(message: Message, name: str) -> object:
    return message.headers.get(name) if isinstance(message.headers, Mapping) else None


def _wrong_content(message: Message, tasks: Container[str]) -> str | None:
    headers: Mapping[str, Any] = message.headers
    if headers["task"] not in tasks:
        return f"there is no task {headers['task'][:100]!r}"
    if not headers["id"]:
        return "it has no id"
    return _wrong_header(headers) or _too_deep(message)


def _wrong_header(headers: Mapping[str, Any]) -> str | None:
    for name, nothing in _UNUSED.items():
        if not any(headers.get(name) == unused for unused in nothing):
            return f"the header {name!r} is not taken"
    for name in _TEXTS:
        text = headers.get(name)
        if text is not None and not (isinstance(text, str) and len(text) <= MAX_HEADER_CHARS):
            return f"the header {name!r} is no text of at most {MAX_HEADER_CHARS} characters"
    for name in _NUMBERS:
        number = headers.get(name)
        if number is not None and not (isinstance(number, int) and 0 <= number <= 1_000):
            return f"the header {name!r} is no number from 0 to 1000"
    if not isinstance(headers.get("ignore_result"), bool | None):
        return "the header 'ignore_result' is neither true nor false"
    return None


def _too_deep(message: Message) -> str | None:
    if depth_of(message.payload, MAX_DEPTH) > MAX_DEPTH:
        return f"its body is nested deeper than {MAX_DEPTH} levels"
    return None


def rejection_reason(message: Message) -> str | None:
    """Why this message is not one of ours; None if it is. Decodes the body."""
    headers = message.headers
    if not isinstance(headers, Mapping):
        return "it has no headers"
    task, task_id = headers.get("task"), headers.get("id")
    if not isinstance(task, str) or not task.startswith("colm."):
        return "it is for no task of ours"
    if not isinstance(task_id, str) or len(task_id) > MAX_ID or not task_id.isprintable():
        return "its id is none of ours"
    exchange = str((message.delivery_info or {}).get("exchange"))
    if task not in BY_EXCHANGE.get(exchange, {task}):
        return f"{task} does not come by {exchange}"
    times = [name for name in TIMES if headers.get(name)]
    if times and not (times == ["group"] and _in_a_callers_group(task, headers)):
        return f"it has {', '.join(times)}"
    return _wrong_body(message)


def _in_a_callers_group(task: str, headers: Mapping[str, Any]) -> bool:
    """Whether the group is just a name: without a chord Celery counts nothing."""
    group = headers["group"]
    is_name = isinstance(group, str) and len(group) <= MAX_ID and group.isprintable()
    return is_name and task in BY_EXCHANGE[ASK]


def _wrong_body(message: Message) -> str | None:
    try:
        payload: Any = message.payload  # cached: Celery does not decode it again
    except Exception as error:  # noqa: BLE001  # untrusted bytes may raise anything
        return f"it cannot be decoded ({type(error).__name__})"
    match payload:
        case [list(), dict(), embed]:
            pass
        case _:
            return "it is not of the form [arguments, keywords, options]"
    if embed is not None and not isinstance(embed, dict):
        return "its options are no options"
    if orders := [name for name in ORDERS if (embed or {}).get(name)]:
        return f"it carries {', '.join(orders)}"
    return None
