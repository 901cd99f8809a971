"""An AsyncResult of `ask` is what the record says, from any process and at any time."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from celery.exceptions import TimeoutError as CeleryTimeoutError
from sqlalchemy import Engine

from colm.db.connection import connect
from colm.db.record.store import SqlRecord
from colm.db.runs.store import order
from colm.models.errors import InvalidAsk, NoConsumer, QueryFailed, SettingsError, TransientError
from colm.models.messages import Answer
from colm.models.strategies.base import Finish, Wait
from colm.tasks import dependencies
from colm.tasks.celery_app import app
from colm.workers import result_wait
from colm.workers.result_backend import RecordBackend
from colm.workers.result_meta import ended_of
from tests.unit.conftest import SetEnvironment
from tests.unit.examples import NOW, a_query, an_answer, seconds

ID = "query-0001"


@pytest.fixture
def record(environment: SetEnvironment, sqlite_url: str) -> Iterator[SqlRecord]:
    environment(
        COLM_DATABASE=sqlite_url, COLM_BROKER="amqp://localhost:1/none",
        COLM_LIMITS__NO_CONSUMER_TIMEOUT="0.05",
    )  # fmt: skip
    engine = connect(sqlite_url)
    yield SqlRecord(engine)
    engine.dispose()


@pytest.fixture
def backend(record: SqlRecord) -> Iterator[RecordBackend]:  # noqa: ARG001  # its settings
    backend = RecordBackend(app=app)
    yield backend
    backend._reader.engine.dispose()


@pytest.fixture
def listeners(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many coordinators listen; the first entry counts."""
    counts = [0]
    monkeypatch.setattr(result_wait, "count_consumers", lambda _queue: counts[0])
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


class Database:
    """What looks at the record meet, one after the other; then the record itself."""

    def __init__(self, *meets: BaseException | threading.Event) -> None:
        self.meets = list(meets)
        self._real = ended_of

    def look(self, engine: Engine, task_ids: tuple[str, ...]) -> Any:
        match self.meets.pop(0) if self.meets else None:
            case threading.Event() as over:
                over.wait(60)
            case BaseException() as error:
                raise error
        return self._real(engine, task_ids)


@pytest.fixture
def meets(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Database]:
    def set_to(*what: BaseException | threading.Event) -> Database:
        database = Database(*what)
        monkeypatch.setattr(result_wait, "ended_of", database.look)
        return database

    monkeypatch.setattr(result_wait, "RETRY_AFTER", 0.01)
    monkeypatch.setattr(result_wait, "LAST_READ", 0.05)
    return set_to


AWAY = TransientError("the database cannot be used now: it starts")


@pytest.mark.parametrize("timeout", [None, 60])
def test_an_outage_that_passes_is_sat_out(
    record: SqlRecord, backend: RecordBackend, meets: Callable[..., Database], timeout: float | None
) -> None:
    end(record, an_answer())
    database = meets(AWAY, AWAY, AWAY)
    assert backend.wait_for(ID, timeout=timeout)["status"] == "SUCCESS"
    assert database.meets == []


def test_a_timeout_in_an_outage_tells_of_it(
    backend: RecordBackend, meets: Callable[..., Database]
) -> None:
    meets(*[AWAY] * 1_000)
    with pytest.raises(CeleryTimeoutError, match=r"within 0.1 s; the database .* it starts"):
        backend.wait_for(ID, timeout=0.1)


def test_a_database_that_was_never_reached_is_not_waited_for_without_an_end(
    backend: RecordBackend, meets: Callable[..., Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(result_wait, "NEVER_REACHED", 0.05)
    meets(*[AWAY] * 1_000)
    with pytest.raises(TransientError, match="it starts"):
        backend.wait_for(ID)
    assert backend._get_task_meta_for(ID)["status"] == "PENDING"  # it is reached now
    monkeypatch.setattr(result_wait, "GIVE_UP_AFTER", 0.3)
    began = time.monotonic()
    with pytest.raises(TransientError, match="it starts"):
        backend.wait_for(ID)
    assert time.monotonic() - began >= 0.3


def test_a_fault_that_does_not_pass_is_told_at_once(
    backend: RecordBackend, meets: Callable[..., Database]
) -> None:
    meets(SettingsError("it lacks tables of this version"))
    with pytest.raises(SettingsError, match="lacks tables"):
        backend.wait_for(ID, timeout=60)


def test_a_timeout_is_kept_while_the_database_takes_questions_and_answers_none(
    record: SqlRecord, backend: RecordBackend, meets: Callable[..., Database]
) -> None:
    end(record, an_answer())
    hangs = threading.Event()
    meets(hangs)
    with pytest.raises(CeleryTimeoutError, match="the database: no reply"):
        backend.wait_for(ID, timeout=0.1)
    hangs.set()
    assert backend.wait_for(ID, timeout=60)["status"] == "SUCCESS"


def test_a_broker_that_is_away_ends_no_wait(
    backend: RecordBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[str] = []

    def away(queue: str) -> int:
        looks.append(queue)
        raise TransientError("the broker cannot be reached")

    monkeypatch.setattr(result_wait, "count_consumers", away)
    with pytest.raises(CeleryTimeoutError):
        backend.wait_for(ID, timeout=0.5)
    assert len(looks) > 1
    monkeypatch.setattr(result_wait, "GIVE_UP_AFTER", 0.2)
    with pytest.raises(TransientError, match="broker"):
        backend.wait_for(ID)


def test_callers_who_wait_share_a_thread_and_a_connection(
    record: SqlRecord, backend: RecordBackend, listeners: list[int]
) -> None:
    listeners[0] = 1
    found: list[str] = []
    callers = [
        threading.Thread(
            target=lambda: found.append(RecordBackend(app=app).wait_for(ID, timeout=60)["status"])
        )
        for _ in range(30)
    ]
    before = threading.active_count()
    for caller in callers:
        caller.start()
    # The callers, one that hears, one that reads, one that asks the broker.
    assert threading.active_count() <= before + len(callers) + 3
    end(record, an_answer())
    for caller in callers:
        caller.join(60)
    assert found == ["SUCCESS"] * 30
    assert backend._reader.engine.pool.checkedin() <= 1  # type: ignore[attr-defined]  # a QueuePool


def test_results_come_as_they_end(record: SqlRecord, backend: RecordBackend) -> None:
    end(record, an_answer())
    several = backend.get_many((ID, "query-0002"), timeout=60)
    assert next(several)[0] == ID
    record.refuse("query-0002", "Why?", "colm", "no such client", NOW)
    task_id, meta = next(several)
    assert (task_id, meta["status"]) == ("query-0002", "FAILURE")
    assert list(several) == []
    with pytest.raises(CeleryTimeoutError, match="query-0003"):
        list(backend.get_many((ID, "query-0003"), timeout=0.1))


def test_a_caller_is_called_back_while_it_waits(
    backend: RecordBackend, listeners: list[int]
) -> None:
    listeners[0] = 1
    calls: list[float] = []
    with pytest.raises(CeleryTimeoutError):
        backend.wait_for(
            ID, timeout=0.3, interval=0.02, on_interval=lambda: calls.append(time.monotonic())
        )
    assert len(calls) > 2


def test_a_run_that_was_revoked_like_a_query_is_a_run(
    record: SqlRecord, backend: RecordBackend
) -> None:
    order(backend._reader.engine, ID, {"entries": []}, NOW)
    record.refuse(ID, "", "unknown", "cancelled: revoked", NOW)
    meta = backend._get_task_meta_for(ID)
    assert (meta["status"], meta["name"]) == ("STARTED", "colm.evaluate")


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

    monkeypatch.setattr(dependencies, "_runtime", dependencies._Runtime())
    record: Any = Broken()
    dependencies.install_coordinator(record, record)
    request = SimpleNamespace(task="colm.ask")
    backend._store_result(ID, "revoked", "REVOKED", request=request)
    assert f"the end of ask {ID} is not recorded" in caplog.text
