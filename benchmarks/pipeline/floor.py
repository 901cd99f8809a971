"""The bare cost of a query's messages and commits, without CoLM.

One process, one thread, open connections. A hop is a confirmed, mandatory, persistent publish to a
quorum queue, its delivery to a waiting consumer, and the ack. A commit is one INSERT, flushed to
the disk. They run one after another.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any, NamedTuple

import pika
import psycopg2
from pika.adapters.blocking_connection import BlockingChannel

from tests.provision.postgres import plain

QUEUE = "colm.benchmark.floor"
TABLE = "colm_benchmark_floor"
#: About the size of a short submission with its headers.
MESSAGE_BYTES = 1_000
ROW_BYTES = 200


class Work(NamedTuple):
    """The hops and commits of a query."""

    hops: int
    commits: int

    def __str__(self) -> str:
        return f"{self.hops} hops, {self.commits} commits"


class Spent(NamedTuple):
    """Seconds."""

    hopping: float
    committing: float

    @property
    def total(self) -> float:
        return self.hopping + self.committing


class Floor:
    """Bare hops and commits on open connections. Not thread-safe."""

    def __init__(
        self, publishing: BlockingChannel, consuming: BlockingChannel, cursor: Any
    ) -> None:
        self._publishing = publishing
        self._consuming = consuming
        self._cursor = cursor
        self._delivered: list[int] = []
        consuming.basic_consume(QUEUE, self._on_message)

    def spend(self, work: Work) -> Spent:
        """Does the work, one operation after another."""
        started = time.perf_counter()
        for _ in range(work.hops):
            self._hop()
        hopped = time.perf_counter()
        for _ in range(work.commits):
            self._commit()
        return Spent(hopped - started, time.perf_counter() - hopped)

    def _hop(self) -> None:
        self._publishing.basic_publish(
            exchange="",
            routing_key=QUEUE,
            body=b"x" * MESSAGE_BYTES,
            properties=pika.BasicProperties(delivery_mode=pika.DeliveryMode.Persistent),
            mandatory=True,
        )
        while not self._delivered:
            self._consuming.connection.process_data_events(time_limit=None)
        self._consuming.basic_ack(self._delivered.pop())

    def _commit(self) -> None:
        # Autocommit: one round trip, not three.
        self._cursor.execute(f"INSERT INTO {TABLE} (body) VALUES (%s)", ["x" * ROW_BYTES])

    def _on_message(self, _channel: Any, method: Any, _properties: Any, _body: bytes) -> None:
        self._delivered.append(method.delivery_tag)


@contextmanager
def floor_on(broker_url: str, database_url: str) -> Iterator[Floor]:
    """A floor with its own queue and table, removed at the end."""
    parameters = pika.URLParameters(broker_url)
    with (
        closing(pika.BlockingConnection(parameters)) as publisher,
        closing(pika.BlockingConnection(parameters)) as consumer,
        closing(psycopg2.connect(plain(database_url))) as database,
    ):
        database.autocommit = True
        publishing, consuming, cursor = publisher.channel(), consumer.channel(), database.cursor()
        publishing.queue_declare(QUEUE, durable=True, arguments={"x-queue-type": "quorum"})
        publishing.confirm_delivery()
        cursor.execute(f"DROP TABLE IF EXISTS {TABLE}")
        cursor.execute(f"CREATE TABLE {TABLE} (id bigserial PRIMARY KEY, body text NOT NULL)")
        try:
            yield Floor(publishing, consuming, cursor)
        finally:
            cursor.execute(f"DROP TABLE {TABLE}")
            publishing.queue_delete(QUEUE)
