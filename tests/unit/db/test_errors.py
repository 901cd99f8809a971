"""What a database that is away, full, foreign or not migrated looks like from outside."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import psycopg2
import pytest
import sqlalchemy
from sqlalchemy import Engine, create_engine, event, make_url, text
from sqlalchemy.exc import IntegrityError

import colm.db.connection
from colm.db import pool_events
from colm.db.connection import connect, parse, snapshot, transaction
from colm.db.errors import translated
from colm.db.reads.answers import answer_of
from colm.db.record.store import SqlRecord
from colm.models.errors import SettingsError, TransientError
from tests.unit.db_examples import NOW, a_query, a_step, asking, completed

SECRET = make_url("postgresql+psycopg2://colm:secret@db.example/colm")


@pytest.fixture
def engine(sqlite_url: str) -> Iterator[Engine]:
    engine = connect(sqlite_url)
    yield engine
    engine.dispose()


def on_each_connection(engine: Engine, pragma: str) -> None:
    def set_pragma(connection: Any, _record: object) -> None:
        connection.execute(f"PRAGMA {pragma}")

    event.listen(engine, "connect", set_pragma)


@pytest.mark.parametrize(
    ("url", "drivername"),
    [
        ("sqlite:////var/lib/colm/record.db", "sqlite"),
        ("postgresql://db.example/colm", "postgresql+psycopg2"),
        ("postgresql+psycopg2://db.example/colm", "postgresql+psycopg2"),
    ],
)
def test_a_url_gets_the_driver_that_we_ship(url: str, drivername: str) -> None:
    assert parse(url).drivername == drivername


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("mysql://colm:secret@db.example/colm", "mysql is not supported"),
        ("colm:secret@db.example", "is malformed"),
    ],
)
def test_a_url_that_cannot_be_used_is_named_without_its_password(url: str, reason: str) -> None:
    with pytest.raises(SettingsError, match=reason) as caught:
        connect(url)
    assert "secret" not in str(caught.value)


def test_what_is_committed_to_sqlite_survives_a_power_cut(engine: Engine) -> None:
    with snapshot(engine) as connection:
        pragmas = {
            name: connection.scalar(text(f"PRAGMA {name}"))
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    full = 2
    assert pragmas == {
        "journal_mode": "wal",
        "synchronous": full,
        "foreign_keys": 1,
        "busy_timeout": 30_000,
    }


def test_a_file_that_cannot_be_opened_is_transient(tmp_path: Path) -> None:
    engine = connect(f"sqlite:///{tmp_path / 'no-such-folder' / 'record.db'}")
    with pytest.raises(TransientError, match="unable to open database file"):
        SqlRecord(engine).due(NOW, 1)


def test_a_lock_that_another_process_keeps_is_transient(engine: Engine, sqlite_url: str) -> None:
    on_each_connection(engine, "busy_timeout = 50")
    other = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(TransientError, match="locked"):
        SqlRecord(engine).refuse("query-0001", "why?", "colm", "reason", NOW)
    assert answer_of(engine, "query-0001").status == "unknown"
    other.execute("ROLLBACK")
    other.close()
    SqlRecord(engine).refuse("query-0001", "why?", "colm", "reason", NOW)
    assert answer_of(engine, "query-0001").status == "refused"


def test_a_full_disk_is_transient_and_leaves_the_query_as_it_was(engine: Engine) -> None:
    record = SqlRecord(engine)
    with record.begin(a_query()) as life:
        life.apply(asking(a_step()), NOW)
        before = life.state
    engine.dispose()
    on_each_connection(engine, "max_page_count = 60")
    with (
        pytest.raises(TransientError, match="full"),
        record.open("query-0001") as life,
    ):
        life.add_outcome(a_step(), completed("x" * 190_000))
    with record.open("query-0001") as life:
        assert life.state == before


def test_a_pool_that_is_used_up_is_transient() -> None:
    with pytest.raises(TransientError, match="no connection") as caught, translated(SECRET):
        raise sqlalchemy.exc.TimeoutError("QueuePool limit reached")
    assert "secret" not in str(caught.value)


def test_a_database_without_our_tables_says_what_to_run(empty_sqlite_url: str) -> None:
    with pytest.raises(SettingsError, match="colm migrate"):
        SqlRecord(connect(empty_sqlite_url)).due(NOW, 1)


def test_a_fault_of_ours_is_not_dressed_up_as_transient(engine: Engine) -> None:
    record = SqlRecord(engine)
    with pytest.raises(IntegrityError, match="FOREIGN KEY"):
        record.mark_dispatched(["no.such.step"], NOW)
    with (
        pytest.raises(sqlalchemy.exc.OperationalError, match="syntax"),
        transaction(engine) as found,
    ):
        found.execute(text("SELEKT 1"))


def test_prompts_and_completions_do_not_get_into_error_texts(engine: Engine) -> None:
    with pytest.raises(IntegrityError) as caught:
        SqlRecord(engine).mark_dispatched(["a prompt"], NOW)
    assert "a prompt" not in str(caught.value)


def test_a_thread_that_never_comes_to_an_end_does_not_block_the_others_for_ever(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(colm.db.connection, "LOCK_TIMEOUT_S", 0.05)
    record, held, done = SqlRecord(engine), threading.Event(), threading.Event()

    def hold() -> None:
        with record.begin(a_query()):
            held.set()
            done.wait(10)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(10)
    with pytest.raises(TransientError, match="another thread"):
        record.refuse("query-0002", "why?", "colm", "reason", NOW)
    done.set()
    holder.join(10)


@pytest.mark.parametrize("error", [psycopg2.OperationalError, psycopg2.InterfaceError])
def test_a_server_that_goes_away_while_a_connection_is_set_up_is_a_transient_error(
    error: type[psycopg2.Error],
) -> None:
    raw = MagicMock()
    raw.info.parameter_status.return_value = "UTF8"
    raw.cursor.side_effect = error("server closed the connection unexpectedly\nmore")
    engine = create_engine("postgresql+psycopg2://u:secret@host/db")
    with pytest.raises(TransientError, match=r"closed the connection unexpectedly$") as raised:
        pool_events._opened(engine, raw, MagicMock())
    assert "secret" not in str(raised.value)
    raw.close.assert_called_once_with()
