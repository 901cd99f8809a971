"""An error of a publish says whether the message may have been sent."""

from __future__ import annotations

import io
import os
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
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
    def producer(_producer: Any) -> Iterator[Any]:
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
        pytest.raises(
            TransientError, match=r"away\. It failed before .* query q, .* accepted: 'colm"
        ),
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


#: Replies by class and method id: what RabbitMQ sends until a publish.
REPLIES = {
    (10, 11): (10, 30, struct.pack(">HIH", 2047, 131_072, 0)),  # Connection.Tune
    (10, 40): (10, 41, b"\0"),
    (20, 10): (20, 11, b"\0\0\0\0"),
    (85, 10): (85, 11, b""),  # Confirm.SelectOk
    (40, 10): (40, 11, b""),
    (50, 10): (50, 11, b"\x08colm.ask" + struct.pack(">II", 0, 0)),
    (50, 20): (50, 21, b""),
}


class DyingBroker:
    """An AMQP server that closes the connection, and its port, at a method of the client."""

    CONNECTION_OPEN, PUBLISH = (10, 40), (60, 40)

    def __init__(self, dies_at: tuple[int, int]) -> None:
        self._dies_at = dies_at
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.methods: list[tuple[int, int]] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        client, _ = self._listener.accept()
        with self._listener, client, client.makefile("rb") as stream:
            assert stream.read(8) == b"AMQP\0\0\x09\x01"
            start = struct.pack(">BBI", 0, 9, 0) + _long(b"PLAIN AMQPLAIN") + _long(b"en_US")
            client.sendall(_frame(0, 10, 10, start))
            while self._dies_at not in self.methods:
                kind, channel, size = struct.unpack(">BHI", stream.read(7))
                method = struct.unpack(">HH", stream.read(size + 1)[:4])
                if kind != 1:
                    continue
                self.methods.append(method)
                if method in REPLIES and method != self._dies_at:
                    client.sendall(_frame(channel, *REPLIES[method]))


def _long(text: bytes) -> bytes:
    return struct.pack(">I", len(text)) + text


def _frame(channel: int, klass: int, method: int, arguments: bytes) -> bytes:
    payload = struct.pack(">HH", klass, method) + arguments
    return struct.pack(">BHI", 1, channel, len(payload)) + payload + b"\xce"


@pytest.mark.parametrize(
    ("dies_at", "words"),
    [
        (DyingBroker.PUBLISH, "confirmed query my-query, which may have been accepted"),
        (DyingBroker.CONNECTION_OPEN, "nothing was sent"),
    ],
)
def test_a_broker_that_dies_before_its_confirm_may_have_the_question(
    dies_at: tuple[int, int], words: str, tmp_path: Path
) -> None:
    broker = DyingBroker(dies_at)
    program = (
        "from colm.tasks import ask\nfrom colm.models.errors import TransientError\n"
        "try: ask.apply_async(('Why?',), task_id='my-query')\n"
        "except TransientError as error: print(error)"
    )
    variables = {
        "COLM_BROKER": f"amqp://guest:guest@127.0.0.1:{broker.port}//",
        "COLM_HOME": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=True,
    )
    assert words in done.stdout
    assert broker.methods.count(dies_at) == 1


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
