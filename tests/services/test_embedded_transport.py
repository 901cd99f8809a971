"""The embedded broker's transport: no SIGKILL of a reader loses a message; the rest is kombu's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from kombu import Connection, Consumer, Exchange, Queue
from kombu.exceptions import OperationalError

from colm.tasks.broker import embedded_transport
from colm.tasks.broker.embedded_transport import _bell

OURS = "colm.tasks.broker.embedded_transport:Transport"
#: By its full name: `colm.tasks.celery_config` may have put ours in the place of "redis".
KOMBUS = "kombu.transport.redis:Transport"
EXCHANGE = Exchange("colm.tried", "topic")
FIRST, SECOND = (Queue(f"colm.{name}", EXCHANGE, routing_key=name) for name in ("one", "two"))

#: Reads one queue, and is killed with the message in its hands, before it has noted it as unacked.
KILLED = """
import os, signal, sys
from kombu import Consumer
from kombu.transport import virtual
from tests.services.test_embedded_transport import FIRST, connected

virtual.Transport._deliver = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
with connected(sys.argv[1]) as connection, Consumer(connection, [FIRST], callbacks=[print]):
    connection.drain_events(timeout=20)
"""


@contextmanager
def connected(url: str, transport: str = OURS) -> Iterator[Connection]:
    with Connection(url) as connection:
        connection.transport_cls = transport  # which `transport=` does not say beside a URL
        for queue in (FIRST, SECOND):
            queue(connection.default_channel).declare()
        yield connection


def send(connection: Connection, *bodies: Any, key: str = "one", priority: int = 0) -> None:
    producer = connection.Producer(serializer="json")
    for body in bodies:
        producer.publish(body, exchange=EXCHANGE, routing_key=key, priority=priority)


def read(
    connection: Connection, many: int, *queues: Queue, within: float = 10, **options: Any
) -> list[Any]:
    """The bodies of so many messages, in order, acked where they are to be."""
    found: list[Any] = []

    def on_message(body: Any, message: Any) -> None:
        found.append(body)
        if not options.get("no_ack"):
            message.ack()

    until = time.monotonic() + within
    with Consumer(connection, queues or [FIRST], callbacks=[on_message], **options):
        while len(found) < many and time.monotonic() < until:
            try:
                connection.drain_events(timeout=0.5)
            except TimeoutError:
                continue
    return found


def valkey(connection: Connection, look: Callable[[Any], Any]) -> Any:
    channel: Any = connection.default_channel
    with channel.conn_or_acquire() as client:
        return look(client)


def held(connection: Connection) -> int:
    """Messages that somebody took and did not ack."""
    return int(valkey(connection, lambda client: client.hlen("unacked")))


def test_a_message_in_the_hands_of_a_killed_reader_is_unacked_and_comes_back(
    embedded_broker_url: str,
) -> None:
    with connected(embedded_broker_url) as connection:
        send(connection, "mine")
        command = [sys.executable, "-c", KILLED, embedded_broker_url]
        killed = subprocess.run(command, timeout=60, capture_output=True, text=True, check=False)
        assert killed.returncode == -signal.SIGKILL, killed.stderr

        assert held(connection) == 1
        channel: Any = connection.default_channel
        (tag,) = valkey(connection, lambda client: client.hkeys("unacked"))
        channel.qos.restore_by_tag(tag.decode())
        assert read(connection, 1) == ["mine"]
        assert held(connection) == 0


def test_messages_come_in_order_by_priority_and_each_once(embedded_broker_url: str) -> None:
    with connected(embedded_broker_url) as connection:
        send(connection, *range(50), priority=9)
        send(connection, "urgent")
        assert read(connection, 51) == ["urgent", *range(50)]
        assert held(connection) == 0


def test_two_readers_of_two_queues_share_them(embedded_broker_url: str) -> None:
    with connected(embedded_broker_url) as one, connected(embedded_broker_url) as other:
        send(one, *range(100))
        send(one, *range(100, 200), key="two")
        found = [*read(one, 90, FIRST, SECOND), *read(other, 110, FIRST, SECOND)]
        assert sorted(found) == list(range(200))
        assert len(set(found[:90]) & set(range(100, 200))) > 30, "neither queue waits for the other"
        assert held(one) == 0


def test_who_reads_without_acking_leaves_nothing_unacked(embedded_broker_url: str) -> None:
    with connected(embedded_broker_url) as connection:
        send(connection, "a", "b")
        assert read(connection, 2, no_ack=True) == ["a", "b"]
        assert held(connection) == 0


def test_a_message_is_read_at_once_by_who_waits_for_it(
    embedded_broker_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded_transport.Transport, "brpop_timeout", 300)  # the bell is left
    with connected(embedded_broker_url) as reader, connected(embedded_broker_url) as writer:
        code = (
            "import sys; from tests.services.test_embedded_transport import *\n"
            "with connected(sys.argv[1]) as connection:\n"
            "    send(connection, 'sent')\n"
        )
        command = [sys.executable, "-c", code, embedded_broker_url]
        with subprocess.Popen(command, env=dict(os.environ)):
            assert read(reader, 1, within=120) == ["sent"]
        assert held(writer) == 0


@pytest.mark.parametrize("lost", [True, False])
def test_a_message_without_its_bell_is_found_all_the_same(
    embedded_broker_url: str, lost: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its token was lost with a reader, or it comes from a program that rings no bell."""
    monkeypatch.setattr(embedded_transport.Transport, "brpop_timeout", 5)
    with connected(embedded_broker_url) as connection:
        if lost:
            send(connection, *"abcdefghij")
            valkey(connection, lambda client: client.delete(_bell(FIRST.name)))
        else:
            with connected(embedded_broker_url, transport=KOMBUS) as plain:
                send(plain, *"abcdefghij")
        assert not valkey(connection, lambda client: client.exists(_bell(FIRST.name)))
        # The first is waited for, and rings for the others: ten looks would take 50 s.
        assert read(connection, 10, within=40) == [*"abcdefghij"]


def test_the_bell_holds_one_token_however_many_wait(embedded_broker_url: str) -> None:
    with connected(embedded_broker_url) as connection:
        send(connection, *range(20))
        assert valkey(connection, lambda client: client.llen(_bell(FIRST.name))) == 1


def test_a_message_that_is_handed_back_rings(embedded_broker_url: str) -> None:
    with connected(embedded_broker_url) as connection:
        send(connection, "again")
        with Consumer(connection, [FIRST], callbacks=[lambda _, message: message.requeue()]):
            connection.drain_events(timeout=5)
        assert valkey(connection, lambda client: client.llen(_bell(FIRST.name))) == 1
        assert read(connection, 1) == ["again"]


def test_a_lost_bell_is_found_while_another_queue_is_busy(embedded_broker_url: str) -> None:
    with connected(embedded_broker_url) as connection, connected(embedded_broker_url) as writer:
        send(connection, "lost", key="two")
        valkey(connection, lambda client: client.delete(_bell(SECOND.name)))
        found: list[Any] = []
        with Consumer(connection, [FIRST, SECOND], callbacks=[_taker(found)]):
            give_up = time.monotonic() + 30
            while "lost" not in found:
                send(writer, "busy")
                connection.drain_events(timeout=5)
                assert time.monotonic() < give_up


def _taker(found: list[Any]) -> Any:
    def take(body: Any, message: Any) -> None:
        found.append(body)
        message.ack()

    return take


def test_what_a_broker_refuses_that_takes_nothing_is_an_error_of_kombus(
    embedded_broker_url: str,
) -> None:
    with connected(embedded_broker_url) as connection:
        send(connection, "before")
        valkey(connection, lambda client: client.config_set("maxmemory", "1"))
        with pytest.raises(OperationalError, match=r"the broker refuses writes: .*maxmemory"):
            send(connection, "after")
        valkey(connection, lambda client: client.config_set("maxmemory", "0"))
        assert read(connection, 1) == ["before"]
