"""What a worker lets in: tasks of ours, by the way that they may come, and nothing for Celery.

A Celery message can hold more than a task and its arguments: tasks to run next ("callbacks",
"chain"), times to run at, names of Celery's own tasks. Whoever obeys it publishes with its own
rights what a stranger wrote. Messages of participants and callers are strangers' messages, so none
of it is obeyed: such a message is rejected, which makes it a dead letter.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kombu import Message

from tasks.topology import ASK, DRAFTS

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


def objection(message: Message) -> str | None:
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
