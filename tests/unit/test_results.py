"""An AsyncResult of `ask` is what the record says, from any process and at any time."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from celery.exceptions import TimeoutError as CeleryTimeoutError

from db.engine import connect
from db.record import SqlRecord
from models.errors import InvalidAsk, NoConsumer, QueryFailed
from models.messages import Answer
from models.strategies.base import Finish, Wait
from tasks import runtime
from tasks.celery_app import app
from tests.unit.conftest import SetEnvironment
from tests.unit.examples import NOW, a_query, an_answer, seconds
from workers import listening
from workers.results import RecordBackend

ID = "query-0001"


@pytest.fixture
def record(environment: SetEnvironment, sqlite_url: str) -> Iterator[SqlRecord]:
    environment(
        COLM_DATABASE=sqlite_url, COLM_BROKER="amqp://localhost:1/none",
        COLM_LIMITS__LISTEN_TIMEOUT="0.05",
    )  # fmt: skip
    engine = connect(sqlite_url)
    yield SqlRecord(engine)
    engine.dispose()


@pytest.fixture
def backend(record: SqlRecord) -> Iterator[RecordBackend]:  # noqa: ARG001  # its settings
    backend = RecordBackend(app=app)
    yield backend
    backend._place.engine.dispose()


@pytest.fixture
def listeners(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many coordinators listen; the first entry counts."""
    counts = [0]
    monkeypatch.setattr(listening, "count_consumers", lambda _queue: counts[0])
    return counts


def end(record: SqlRecord, answer: Answer) -> None:
    with record.begin(a_query("ada")) as life:
        life.apply(Finish(answer=answer), NOW)


def test_a_result_goes_from_pending_over_started_to_success(
    record: SqlRecord, backend: RecordBackend
) -> None:
    assert backend._get_task_meta_for(ID)["status"] == "PENDING"
    with record.begin(a_query("ada")) as life:
        life.apply(Wait(wake_at=NOW + seconds(9)), NOW)
    assert backend._get_task_meta_for(ID)["status"] == "STARTED"
    end(record, an_answer())
    meta = backend._get_task_meta_for(ID)
    assert meta["status"] == "SUCCESS"
    assert Answer.model_validate(json.loads(json.dumps(meta["result"]))) == an_answer()
    assert meta["date_done"] == "2026-03-01T12:00:03+00:00"


def test_a_failed_query_is_a_failure_that_says_where_to_look(
    record: SqlRecord, backend: RecordBackend
) -> None:
    end(record, an_answer(status="failed", answer=None, reason="nobody drafted"))
    meta = backend.wait_for(ID, timeout=5)
    assert meta["status"] == "FAILURE"
    assert isinstance(meta["result"], QueryFailed)
    assert str(meta["result"]) == f"nobody drafted ('colm show {ID}' tells the whole of it)"


def test_a_refused_ask_is_the_callers_own_error(record: SqlRecord, backend: RecordBackend) -> None:
    record.refuse(ID, "Why?", "colm", "unknown client 'zoe'", NOW)
    meta = backend.wait_for(ID, timeout=5)
    assert isinstance(meta["result"], InvalidAsk)
    assert str(meta["result"]) == "unknown client 'zoe'"


def test_waiting_ends_with_the_callers_patience(
    backend: RecordBackend, listeners: list[int]
) -> None:
    listeners[0] = 1
    started = time.monotonic()
    with pytest.raises(CeleryTimeoutError, match=f"no answer to query {ID} within 0.2 s"):
        backend.wait_for(ID, timeout=0.2)
    assert 0.2 <= time.monotonic() - started < 5


def test_waiting_for_a_question_that_nobody_takes_says_which_queue(
    backend: RecordBackend, listeners: list[int]
) -> None:
    assert listeners == [0]
    with pytest.raises(NoConsumer, match=r"queue colm\.ask has no consumer.*colm coordinator"):
        backend.wait_for(ID, timeout=60)


def test_waiting_for_a_query_that_is_under_way_needs_no_listener(
    record: SqlRecord, backend: RecordBackend, listeners: list[int]
) -> None:
    assert listeners == [0]
    now = datetime.now(UTC)
    with record.begin(a_query("ada", asked_at=now)) as life:
        life.apply(Wait(wake_at=now + seconds(9)), now)
    with pytest.raises(CeleryTimeoutError):
        backend.wait_for(ID, timeout=0.2)


def test_waiting_for_a_query_long_past_its_deadline_asks_who_listens(
    record: SqlRecord, backend: RecordBackend, listeners: list[int]
) -> None:
    assert listeners == [0]
    with record.begin(a_query("ada")) as life:  # asked long ago
        life.apply(Wait(wake_at=NOW), NOW)
    with pytest.raises(NoConsumer):
        backend.wait_for(ID, timeout=60)


def test_results_are_stored_by_nobody_and_forgotten_by_nobody(backend: RecordBackend) -> None:
    assert backend._store_result(ID, {"x": 1}, "SUCCESS") == {"x": 1}
    assert backend._get_task_meta_for(ID)["status"] == "PENDING"
    with pytest.raises(NotImplementedError, match="append-only"):
        backend._forget(ID)


def test_an_end_that_cannot_be_recorded_raises_nothing_in_the_loop_that_takes_tasks(
    backend: RecordBackend, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        def refuse(self, *_: object) -> None:
            raise UnicodeEncodeError("ascii", "ü", 0, 1, "ordinal not in range")

    monkeypatch.setattr(runtime, "_runtime", runtime._Runtime())
    record: Any = Broken()
    runtime.install_coordinator(record, record)
    request = SimpleNamespace(task="colm.ask")
    backend._store_result(ID, "revoked", "REVOKED", request=request)
    assert f"the end of ask {ID} is not recorded" in caplog.text
