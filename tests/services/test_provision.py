"""The services that other tests stand on: they start, crash, come back and leave nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import pika
import pika.exceptions
import psycopg2
import pytest

from tests.provision import (
    Databases,
    Lender,
    PostgresServer,
    RabbitMQServer,
    ServiceBroken,
    VirtualHosts,
    lent,
)
from tests.provision.postgres import plain
from tests.provision.process import running

_REPOSITORY = Path(__file__).parents[2]


def _query(url: str, statement: str) -> list[tuple[object, ...]]:
    connection = psycopg2.connect(plain(url))
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def test_postgres_keeps_what_was_committed_over_a_crash(private_postgres: PostgresServer) -> None:
    url = private_postgres.url
    _query(url, "CREATE TABLE kept AS SELECT 7 AS n")

    private_postgres.kill()
    with pytest.raises(psycopg2.OperationalError, match="refused"):
        _query(url, "SELECT 1")
    private_postgres.start()

    assert _query(url, "SELECT n FROM kept") == [(7,)]
    assert _query(url, "SHOW fsync") == [("on",)]


def test_postgres_comes_back_after_a_clean_stop(private_postgres: PostgresServer) -> None:
    url = private_postgres.url
    _query(url, "CREATE TABLE kept AS SELECT 7 AS n")

    private_postgres.restart()

    assert _query(url, "SELECT n FROM kept") == [(7,)]


def test_a_closed_postgres_leaves_no_process(private_postgres: PostgresServer) -> None:
    processes = private_postgres.processes
    assert len(processes) > 1

    private_postgres.close()

    assert [pid for pid in processes if running(pid)] == []


def test_a_fresh_database_has_no_tables_and_is_gone_afterwards(
    postgres_databases: Databases,
) -> None:
    with postgres_databases.empty() as url:
        tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
        assert _query(url, tables) == [(0,)]
    with pytest.raises(psycopg2.OperationalError, match="does not exist"):
        _query(url, "SELECT 1")


@pytest.mark.usefixtures("postgres_installed")
def test_all_who_ask_a_lender_get_one_server_that_ends_with_it() -> None:
    with Lender() as lender:
        with lent("postgres", lender.address) as first:
            assert _query(first.url, "SELECT 7") == [(7,)]
        with lent("postgres", lender.address) as second:
            assert second == first
            assert _query(first.url, "SELECT 7") == [(7,)]
    with pytest.raises(psycopg2.OperationalError, match="refused"):
        _query(first.url, "SELECT 1")
    assert not lender.folder.exists()


@pytest.mark.usefixtures("postgres_installed")
def test_a_lender_tells_all_who_ask_why_its_server_did_not_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(server: PostgresServer) -> None:
        raise ServiceBroken(f"port {server.port} is taken")

    monkeypatch.setattr(PostgresServer, "start", broken)
    with Lender() as lender:
        for _ in range(2):
            with pytest.raises(ServiceBroken, match="is taken"), lent("postgres", lender.address):
                pass


def _declare(url: str) -> None:
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        arguments = {"x-queue-type": "quorum"}
        connection.channel().queue_declare("kept", durable=True, arguments=arguments)


def _publish(url: str) -> None:
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        persistent = pika.BasicProperties(delivery_mode=2)
        channel.basic_publish("", "kept", b"seven", persistent, mandatory=True)


def _take(url: str) -> bytes | None:
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        body: bytes | None
        _, _, body = connection.channel().basic_get("kept", auto_ack=True)
        return body


@pytest.mark.slow
def test_rabbitmq_keeps_a_confirmed_message_over_a_crash_and_leaves_no_process(
    private_rabbitmq: RabbitMQServer,
) -> None:
    url = private_rabbitmq.url
    _declare(url)
    time.sleep(3)  # the node saves a new queue late; see RabbitMQServer.kill
    _publish(url)

    private_rabbitmq.kill()
    with pytest.raises(pika.exceptions.AMQPConnectionError):
        _take(url)
    private_rabbitmq.start()
    assert _take(url) == b"seven"

    processes = private_rabbitmq.processes
    private_rabbitmq.stop()
    assert len(processes) > 2
    assert [pid for pid in processes if running(pid)] == []


def test_a_fresh_virtual_host_is_empty_and_gone_afterwards(rabbitmq_vhosts: VirtualHosts) -> None:
    with rabbitmq_vhosts.fresh() as url:
        _declare(url)
        _publish(url)
        with rabbitmq_vhosts.fresh() as other, pytest.raises(pika.exceptions.ChannelClosed):
            _take(other)
    with pytest.raises(pika.exceptions.AMQPConnectionError):
        _take(url)


@pytest.mark.slow
@pytest.mark.usefixtures("postgres_installed")
def test_postgres_ends_with_a_test_run_that_was_killed() -> None:
    assert _left_by_a_killed_test_run("PostgresServer") == []


@pytest.mark.slow
@pytest.mark.usefixtures("rabbitmq_installed")
def test_rabbitmq_ends_with_a_test_run_that_was_killed() -> None:
    assert _left_by_a_killed_test_run("RabbitMQServer") == []


def _left_by_a_killed_test_run(service: str) -> list[int]:
    program = (
        "import time; from tests import provision;"
        f"print(*provision.{service}().start().processes, flush=True); time.sleep(300)"
    )
    with TemporaryDirectory(prefix="colm-") as left_behind:
        Path(left_behind).chmod(0o711)
        test_run = subprocess.Popen(
            [sys.executable, "-c", program],
            stdout=subprocess.PIPE,
            text=True,
            cwd=_REPOSITORY,
            env={**os.environ, "TMPDIR": left_behind},
        )
        with test_run:
            assert test_run.stdout is not None
            processes = [int(pid) for pid in test_run.stdout.readline().split()]
            assert len(processes) > 1
            test_run.kill()
        return _still_running(processes, after=15)


def _still_running(processes: list[int], *, after: float) -> list[int]:
    deadline = time.monotonic() + after
    while any(map(running, processes)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return [pid for pid in processes if running(pid)]
