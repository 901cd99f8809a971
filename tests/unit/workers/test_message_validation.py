"""What a worker lets in: what ours publish, and no orders to Celery."""

from __future__ import annotations

import json
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st
from kombu import Message

from colm.workers.consumer.message_validation import rejection_reason

HEADERS = {"task": "colm.submit", "id": "query-1.1.draft.ada.0.submit", "lang": "py"}
EMBED: dict[str, Any] = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
SIGNATURE = {
    "task": "colm.refine",
    "args": [],
    "kwargs": {},
    "options": {"queue": "colm.refine.bo"},
}


def message(
    *,
    exchange: str = "colm.drafts",
    body: Any = None,
    raw: bytes | None = None,
    content_type: str = "application/json",
    headers: Any = None,
) -> Message:
    """A message as it comes, by default as ours publish it."""
    payload = [[], {"submission": {}}, EMBED] if body is None else body
    return Message(
        body=json.dumps(payload).encode() if raw is None else raw,  # type: ignore[arg-type]  # bytes off the wire
        content_type=content_type,
        content_encoding="utf-8",
        headers=HEADERS if headers is None else headers,
        delivery_info={"exchange": exchange, "routing_key": "draft.ada"},
        accept=["application/json"],
    )


@pytest.mark.parametrize(
    ("exchange", "task"),
    [
        ("colm.drafts", "colm.submit"),
        ("colm.drafts", "colm.attempt"),
        ("colm.ask", "colm.ask"),
        ("colm.steps", "colm.draft"),
        ("colm.guidance", "colm.refine"),
    ],
)
def test_what_ours_publish_is_let_in(exchange: str, task: str) -> None:
    assert rejection_reason(message(exchange=exchange, headers={**HEADERS, "task": task})) is None


@pytest.mark.parametrize(
    ("exchange", "task", "why"),
    [
        ("colm.drafts", "colm.ask", "colm.ask does not come by colm.drafts"),
        ("colm.drafts", "colm.draft", "colm.draft does not come by colm.drafts"),
        ("colm.ask", "colm.submit", "colm.submit does not come by colm.ask"),
        ("colm.drafts", "celery.map", "no task of ours"),
        ("colm.ask", "celery.chain", "no task of ours"),
        ("colm.steps", "celery.chord_unlock", "no task of ours"),
        ("colm.drafts", None, "no task of ours"),
        ("colm.drafts", ["colm.submit"], "no task of ours"),
    ],
)
def test_a_task_comes_by_its_own_way_or_not_at_all(exchange: str, task: Any, why: str) -> None:
    found = rejection_reason(message(exchange=exchange, headers={**HEADERS, "task": task}))
    assert why in str(found)


@pytest.mark.parametrize("order", ["callbacks", "errbacks", "chain", "chord"])
def test_a_message_that_would_make_a_worker_publish_is_not_let_in(order: str) -> None:
    body = [[], {}, {**EMBED, order: [SIGNATURE]}]
    assert rejection_reason(message(body=body)) == f"it carries {order}"


@pytest.mark.parametrize("header", ["eta", "expires", "group"])
def test_a_message_that_would_be_held_back_or_dropped_is_not_let_in(header: str) -> None:
    headers = {**HEADERS, header: "2030-01-01T00:00:00+00:00"}
    assert rejection_reason(message(headers=headers)) == f"it has {header}"


@pytest.mark.parametrize(
    ("task", "exchange", "more", "let_in"),
    [
        ("colm.ask", "colm.ask", {"group": "a-callers-group"}, True),
        ("colm.evaluate", "colm.ask", {"group": "a-callers-group"}, True),
        ("colm.draft", "colm.steps", {"group": "a-callers-group"}, False),
        ("colm.ask", "colm.ask", {"group": "x" * 301}, False),
        ("colm.ask", "colm.ask", {"group": "one\nERROR two"}, False),
        ("colm.ask", "colm.ask", {"group": ["a-callers-group"]}, False),
        ("colm.ask", "colm.ask", {"group": "a-callers-group", "eta": "2030-01-01"}, False),
    ],
)
def test_a_question_may_say_in_which_of_its_callers_groups_it_is(
    task: str, exchange: str, more: dict[str, Any], let_in: bool
) -> None:
    headers = {**HEADERS, "task": task, **more}
    assert (rejection_reason(message(exchange=exchange, headers=headers)) is None) == let_in


def test_a_question_in_a_chord_is_not_let_in() -> None:
    headers = {**HEADERS, "task": "colm.ask", "group": "a-group"}
    body = [[], {}, {**EMBED, "chord": SIGNATURE}]
    assert (
        rejection_reason(message(exchange="colm.ask", headers=headers, body=body))
        == "it carries chord"
    )


@pytest.mark.parametrize("task_id", [None, 7, "x" * 301, "one\nERROR two", "\x1b[2J"])
def test_an_id_that_would_forge_a_line_of_the_log_is_not_let_in(task_id: Any) -> None:
    assert rejection_reason(message(headers={**HEADERS, "id": task_id})) == "its id is none of ours"


@pytest.mark.parametrize(
    "body",
    [
        {"task": "colm.submit", "id": "x", "args": [], "kwargs": {}, "callbacks": [SIGNATURE]},
        {"args": [], "kwargs": {}},
        [[], {}],
        [{}, [], {}],
        [[], {}, [SIGNATURE]],
        [[], {}, {}, {}],
        "colm.submit",
        7,
    ],
)
def test_a_message_of_another_form_is_not_let_in(body: Any) -> None:
    assert rejection_reason(message(body=body)) is not None


@pytest.mark.parametrize(
    ("raw", "content_type"),
    [
        (b"\x80\x04K\x01.", "application/x-python-serialize"),
        (b"[[], {}, {}", "application/json"),
        (b"\xff\xfe", "application/json"),
        (b"[" * 100_000, "application/json"),
        (b"- a", "application/x-yaml"),
    ],
)
def test_bytes_that_are_no_json_are_not_let_in(raw: bytes, content_type: str) -> None:
    assert "cannot be decoded" in str(rejection_reason(message(raw=raw, content_type=content_type)))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@hypothesis.given(
    headers=st.dictionaries(st.sampled_from([*HEADERS, "eta", "group"]), json_values),
    body=json_values | st.tuples(json_values, json_values, json_values),
)
def test_nothing_that_a_stranger_writes_makes_the_gate_fail(
    headers: dict[str, Any], body: Any
) -> None:
    found = rejection_reason(message(headers=headers, body=body))
    assert found is None or isinstance(found, str)
