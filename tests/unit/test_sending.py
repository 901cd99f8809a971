"""Whoever asks from the command line hears whether the question may have been sent."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from amqp.exceptions import NotAllowed
from kombu.exceptions import OperationalError
from rich.console import Console
from sqlalchemy import Engine

from colm.db.connection import connect
from colm.db.record.store import SqlRecord
from colm.models.errors import ColmError, InvalidAsk, Overloaded, SettingsError, TransientError
from colm.tasks import ask
from colm.tasks.broker.sending import sending
from colm.tasks.celery_app import app
from colm.workers.cli import ask_actions
from colm.workers.cli.ask_actions import ask_and_follow
from tests.unit.conftest import SetEnvironment
from tests.unit.db_examples import NOW


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Stands in for the connection: `error` is what opening it raises."""
    found = SimpleNamespace(error=None, tried=0)

    def ensure_connection(**_: Any) -> None:
        found.tried += 1
        if found.error is not None:
            raise found.error

    @contextmanager
    def producer() -> Iterator[Any]:
        connection = SimpleNamespace(ensure_connection=ensure_connection)
        yield SimpleNamespace(connection=connection)

    monkeypatch.setattr(app, "producer_or_acquire", producer)
    return found


@pytest.mark.parametrize(
    "error", [OperationalError("refused"), ConnectionRefusedError(111, "refused"), OSError("gone")]
)
def test_where_no_connection_comes_about_nothing_was_sent(
    broker: SimpleNamespace, error: Exception
) -> None:
    broker.error = error
    with pytest.raises(TransientError, match="; nothing was sent"), sending("it", "look"):
        pytest.fail("nothing is to be sent")


@pytest.mark.usefixtures("broker")
def test_where_the_broker_fails_in_between_it_may_be_there_all_the_same() -> None:
    with (
        pytest.raises(TransientError, match=r"away\. It failed while query q was sent, .*: 'colm"),
        sending("query q", "'colm show q' tells"),
    ):
        raise TransientError("away")


@pytest.mark.usefixtures("broker")
@pytest.mark.parametrize("error", [Overloaded("full"), SettingsError("no right"), ColmError("x")])
def test_what_surely_was_not_accepted_is_told_as_it_is(error: ColmError) -> None:
    with pytest.raises(type(error)) as caught, sending("it", "look"):
        raise error
    assert caught.value is error


def test_a_refusal_of_the_connection_is_told_by_what_is_sent(broker: SimpleNamespace) -> None:
    broker.error = NotAllowed("no such virtual host")
    refusal = TransientError("a limit is reached")
    with pytest.raises(TransientError) as caught, sending("it", "look"):
        raise refusal
    assert caught.value is refusal


@pytest.fixture
def engine(environment: SetEnvironment, sqlite_url: str) -> Engine:
    environment(COLM_DATABASE=sqlite_url, COLM_BROKER="amqp://localhost:1/none")
    return connect(sqlite_url)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of what was asked."""
    found: list[str] = []

    def take(_args: Any, _options: Any, *, task_id: str) -> None:
        found.append(task_id)

    monkeypatch.setattr(ask, "apply_async", take)
    return found


def quiet() -> Console:
    return Console(file=io.StringIO())


def test_a_question_is_sent_once_it_can_be_asked_and_its_record_can_be_read(
    engine: Engine, broker: SimpleNamespace, sent: list[str], empty_sqlite_url: str
) -> None:
    with pytest.raises(InvalidAsk):
        ask_and_follow(engine, "", {}, quiet())
    with pytest.raises(SettingsError, match="no record at"):
        ask_and_follow(connect(empty_sqlite_url), "Why?", {}, quiet())
    assert (sent, broker.tried) == ([], 0)


@pytest.mark.usefixtures("broker")
def test_a_query_that_ends_is_followed_to_its_end(
    engine: Engine, sent: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ask_actions, "POLL_EVERY", 0.0)
    record = SqlRecord(engine)

    def meanwhile() -> None:
        record.refuse(sent[0], "Why?", "colm", "reason", NOW)

    assert ask_and_follow(engine, "Why?", {}, quiet(), meanwhile=meanwhile) == sent[0]


@pytest.mark.usefixtures("broker")
@pytest.mark.parametrize("error", [TransientError("the database is away"), KeyboardInterrupt()])
def test_whoever_stops_watching_is_told_that_the_query_goes_on(
    engine: Engine, sent: list[str], error: BaseException
) -> None:
    def meanwhile() -> None:
        raise error

    console = Console(file=io.StringIO(), width=200)
    with pytest.raises(type(error)) as caught:
        ask_and_follow(engine, "Why?", {}, console, meanwhile=meanwhile)
    told = f"{caught.value}{console.file.getvalue()}"  # type: ignore[attr-defined]  # StringIO's
    assert f"Query {sent[0]} continues: see 'colm show {sent[0]}'" in told
