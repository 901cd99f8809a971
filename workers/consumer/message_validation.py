"""What a worker refuses before Celery looks at it: the gate, and bounds on everything else.

Celery believes what a message says of itself: some of that ends its consumer, some acks and forgets
the message. `colm.workers.consumer.message_validation` lets in tasks of ours that carry no orders;
here are the bounds on what they may hold, and the ways in which a message can be no message at all.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

from kombu import Message, compression

from colm.tasks.broker.topology import ASK, DRAFTS

#: The largest body: a panel of 320 000 characters, each escaped as a pair of six bytes, and more.
MAX_BODY_BYTES = 8 * 2**20


#: The deepest nesting of lists and objects; a submission has five levels.
MAX_DEPTH = 32


#: The longest header that is a text (characters).
MAX_HEADER_CHARS = 4_000


#: What kombu can unpack; a few bytes can unpack to all memory.
COMPRESSIONS = (*compression.encoders(), "application/zstd", "application/x-brotli")


#: Headers of Celery's that ask for something, with the values that ask for nothing.
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
    """Why a task message cannot be used; None where nothing is wrong. Never raises for its content.

    `tasks` are the names that exist.
    """
    return _wrong_form(message) or rejection_reason(message) or _wrong_content(message, tasks)


def disable_decompression() -> None:
    """Have kombu unpack nothing in this process."""
    for name in COMPRESSIONS:
        compression.register(_refuse, _refuse, name)


def depth_of(value: object, most: int) -> int:
    """How deep lists and objects are nested in `value`; `most` + 1 where it is deeper than that."""
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


#: The tasks that may come by the two exchanges that others than coordinators can write to. Only
#: coordinators write to the rest.
BY_EXCHANGE = {
    ASK: {"colm.ask", "colm.cancel", "colm.evaluate"},
    DRAFTS: {"colm.submit", "colm.attempt"},
}


#: What makes Celery publish, in a message's third part.
ORDERS = ("callbacks", "errbacks", "chain", "chord")


#: Headers with which Celery holds a message back, drops it, or counts it into a group.
TIMES = ("eta", "expires", "group")


#: The longest task id of ours is that of a step's submission (characters).
MAX_ID = 300


def rejection_reason(message: Message) -> str | None:
    """Why this message is not let in; None where it is. Reads headers, and the body as JSON."""
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
    set_ = [name for name in TIMES if headers.get(name)]
    if set_ and not (set_ == ["group"] and _in_a_callers_group(task, headers)):
        return f"it has {', '.join(set_)}"
    return _objection_to_body(message)


def _in_a_callers_group(task: str, headers: Mapping[str, Any]) -> bool:
    """Whether the group is a name that the caller alone uses: Celery counts for a chord only."""
    group = headers["group"]
    known = isinstance(group, str) and len(group) <= MAX_ID and group.isprintable()
    return known and task in BY_EXCHANGE[ASK]


def _objection_to_body(message: Message) -> str | None:
    try:
        payload: Any = message.payload  # which keeps it: Celery does not decode it again
    except Exception as error:  # noqa: BLE001  # whatever a stranger's bytes do to a decoder
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
