"""What strangers send: turned away before Celery sees it, rationed, and bounded in the record."""

from __future__ import annotations

import bz2
import json
import traceback
from typing import Any

import pytest
from celery.exceptions import Ignore, Reject
from kombu import Message, compression

from colm.db.connection import connect
from colm.db.reads.history import StepOutcome
from colm.db.record.locked_query import MAX_LATE
from colm.db.record.store import SqlRecord
from colm.models.errors import BadMessage
from colm.models.messages import Submission, decode
from colm.tasks import dependencies, submissions
from colm.tasks.broker.rate_limit import TokenBucket, dead_letter_bucket
from colm.tasks.submissions import _submissions, submit
from colm.workers.consumer.message_validation import (
    MAX_BODY_BYTES,
    MAX_DEPTH,
    depth_of,
    disable_decompression,
    validate_message,
)
from tests.unit.conftest import SetEnvironment
from tests.unit.coordination_site import Site
from tests.unit.db_examples import LATER, NOW, a_query, a_step, asking, completed, history
from tests.unit.tasks.test_task_bodies import message as delivered

TASKS = {"colm.submit", "colm.draft", "celery.map"}
HEADERS: dict[str, Any] = {
    "task": "colm.submit", "id": "query-0001.1.draft.ada.0.submit", "eta": None, "retries": 0,
    "timelimit": [None, None], "argsrepr": "", "kwargsrepr": "by='ada'", "stamps": {},
    "ignore_result": True, "root_id": "x", "parent_id": None, "shadow": None,
}  # fmt: skip
BODY = json.dumps([[], {"submission": {}}, {"callbacks": None, "chain": None}])


def a_message(body: str | bytes = BODY, **changes: Any) -> Message:
    fields = {
        "body": body,
        "headers": HEADERS,
        "content_type": "application/json",
        "content_encoding": "utf-8",
        "delivery_info": {"exchange": "colm.drafts", "routing_key": "draft.ada"},
        "accept": {"application/json"},
    }
    return Message(**{**fields, **changes})


def with_headers(**changes: Any) -> Message:
    return a_message(headers={**HEADERS, **changes})


def test_our_own_messages_are_taken() -> None:
    assert validate_message(a_message(), TASKS) is None


@pytest.mark.parametrize(
    ("message", "fault"),
    [
        (a_message("x" * (MAX_BODY_BYTES + 1)), f"its body has {MAX_BODY_BYTES + 1} bytes"),
        (a_message("{"), "cannot be decoded"),
        (a_message(b"\xff\xfe"), "cannot be decoded"),
        (a_message("[" * 100_000), "cannot be decoded"),
        (a_message("9" * 10_000), "cannot be decoded"),
        (a_message("[]"), "not of the form"),
        (a_message('[[], {"a": ' + "[" * 40 + "]" * 40 + "}, null]"), "nested deeper than 32"),
        (a_message(content_type="application/x-python-serialize"), "content type"),
        (a_message(content_type=None), "content type"),
        (a_message(content_encoding="utf-16"), "content encoding"),
        (a_message(content_encoding="binary"), "content encoding"),
        (a_message(headers=None), "no task of ours"),
        (with_headers(task="colm.nonsense"), "does not come by colm.drafts"),
        (
            a_message(
                headers={**HEADERS, "task": "colm.nonsense"},
                delivery_info={"exchange": "colm.steps", "routing_key": "draft.ada"},
            ),
            "there is no task 'colm.nonsense'",
        ),
        (with_headers(task="celery.map"), "no task of ours"),
        (with_headers(task="colm.draft"), "does not come by colm.drafts"),
        (with_headers(id=None), "id"),
        (with_headers(id=""), "it has no id"),
        (with_headers(id="x" * 5_000), "id"),
        (with_headers(shadow="colm.ask"), "'shadow' is not taken"),
        (with_headers(timelimit=[0.001, 0.001]), "'timelimit' is not taken"),
        (with_headers(compression="application/x-bz2"), "compressed"),
        (with_headers(stamps={"a": "b"}), "'stamps' is not taken"),
        (with_headers(kwargsrepr="x" * 4_001), "'kwargsrepr' is no text"),
        (with_headers(argsrepr=["x"]), "'argsrepr' is no text"),
        (with_headers(retries="many"), "'retries' is no number"),
        (with_headers(retries=-1), "'retries' is no number"),
        (with_headers(ignore_result="no"), "'ignore_result'"),
    ],
)
def test_what_is_not_ours_is_refused_with_the_reason(message: Message, fault: str) -> None:
    assert fault in str(validate_message(message, TASKS))


def test_nothing_is_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_encoders", "_decoders", "_aliases"):
        monkeypatch.setattr(compression, name, dict(getattr(compression, name)))
    packed = bz2.compress(BODY.encode())
    headers = {**HEADERS, "compression": "application/x-bz2"}
    assert not a_message(packed, headers=headers).errors  # kombu would
    disable_decompression()
    bomb = a_message(packed, headers=headers)
    assert bomb.errors
    assert "compressed" in str(validate_message(bomb, TASKS))


@pytest.mark.parametrize(
    ("value", "depth"),
    [(1, 0), ([], 1), ({}, 1), ([[]], 2), ({"a": [{"b": 1}]}, 3), ([1, [2, [3]]], 3)],
)
def test_depth_counts_lists_and_objects(value: object, depth: int) -> None:
    assert depth_of(value, MAX_DEPTH) == depth


def test_a_sender_may_send_a_burst_and_then_so_many_a_second() -> None:
    now = [0.0]
    allowance = TokenBucket(2.0, 3, clock=lambda: now[0])
    assert [allowance.try_acquire("ada") for _ in range(5)] == [True, True, True, False, False]
    assert allowance.try_acquire("bo")  # each has its own
    assert allowance.denied_count("ada") == 2
    assert allowance.denied_count("ada") == 0
    now[0] = 0.5
    assert [allowance.try_acquire("ada") for _ in range(2)] == [True, False]
    now[0] = 100.0
    assert [allowance.try_acquire("ada") for _ in range(4)] == [True, True, True, False]


def test_senders_that_never_come_back_are_forgotten() -> None:
    allowance = dead_letter_bucket()
    for n in range(10_000):
        allowance.try_acquire(f"stranger-{n}")
    assert len(allowance._left) <= 4_096


@pytest.fixture
def site(environment: SetEnvironment, monkeypatch: pytest.MonkeyPatch) -> Site:
    environment(
        COLM_BROKER="amqp://host/colm",
        COLM_DATABASE="sqlite:///unused.db",
        COLM_LIMITS__SUBMISSIONS_PER_SECOND="1",
    )
    monkeypatch.setattr(dependencies, "_runtime", dependencies._Runtime())
    monkeypatch.setattr(submissions, "_letters", dead_letter_bucket())
    _submissions.cache_clear()
    site = Site()
    dependencies.install_coordinator(site.coordinator, site.record)
    return site


def flood(count: int) -> list[type[Exception]]:
    ended: list[type[Exception]] = []
    for n in range(count):
        with delivered(submit, id=f"task-{n}", key="draft.ada") as task:
            try:
                task.run(submission={"n": n})
            except (Reject, Ignore) as error:
                ended.append(type(error))
    _submissions.cache_clear()
    return ended


def test_a_flood_is_refused_and_the_record_stays_small(site: Site) -> None:
    ended = flood(500)
    assert ended[:60] == [Reject] * 60
    assert set(ended[60:]) == {Ignore}
    assert len(site.record.letters) == 60
    reasons = [letter.reason for letter in site.record.letters.values()]
    assert "cannot be used" in reasons[0]
    assert "'draft.ada' submits more than 1 times a second" in reasons[-1]


def test_a_step_keeps_so_many_late_outcomes_and_no_more(sqlite_url: str) -> None:
    engine = connect(sqlite_url)
    record = SqlRecord(engine)
    with record.begin(a_query()) as life:
        life.apply(asking(a_step()), NOW)
        life.apply(asking(close=a_step()), LATER)
    receipts = []
    for n in range(50):
        with record.open("query-0001") as life:
            receipts.append(life.add_outcome(a_step(), completed(f"again {n}")))
    assert receipts == ["late"] * MAX_LATE + ["repeated"] * (50 - MAX_LATE)
    kept = [e.what for e in history(engine).entries if isinstance(e.what, StepOutcome)]
    assert len([o for o in kept if o.outcome.status == "late"]) == MAX_LATE
    engine.dispose()


def test_the_traceback_of_a_bad_message_shows_no_value_of_it() -> None:
    secret = "-".join(["xyzzy", "text"])  # a traceback quotes these lines, too
    with pytest.raises(BadMessage) as raised:
        decode(Submission, {"worker": secret}, what="the submission")
    assert secret not in "".join(traceback.format_exception(raised.value))
