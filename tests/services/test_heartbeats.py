"""A worker deep in its work stays connected, and takes no more than its engine can hold."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pika
import pytest

from tests.journeys.site import REPOSITORY, Site, outcomes
from tests.provision import VirtualHosts

HEARTBEAT = 10
#: More than six heartbeats: RabbitMQ gives up on a connection after two.
BATCH_SECONDS = 65


@pytest.fixture
def site(rabbitmq_url: str, postgres_url: str, tmp_path: Path) -> Iterator[Site]:
    found = Site(tmp_path, broker=rabbitmq_url, database=postgres_url)
    try:
        yield found
    finally:
        found.close()


def start_busy(site: Site, name: str) -> None:
    """A client that computes in Python without pause while it generates."""
    command = [sys.executable, "-m", "tests.services.busy_client", name]
    environment = {**site.environment, "PYTHONPATH": str(REPOSITORY)}
    with (site.folder / f"client-{name}.log").open("ab") as log:
        site.processes[f"client-{name}"] = subprocess.Popen(
            command, env=environment, stdout=log, stderr=log, cwd=site.folder
        )


def worker_log(site: Site, name: str) -> str:
    return (site.folder / f"client-{name}.log").read_text()


@pytest.mark.nightly
@pytest.mark.slow
def test_a_batch_longer_than_six_heartbeats_keeps_its_connection_and_is_done_once(
    site: Site, rabbitmq_vhosts: VirtualHosts, rabbitmq_url: str
) -> None:
    site.variables["COLM_LIMITS__HEARTBEAT"] = str(HEARTBEAT)
    site.configure("ada", "bo", delay=BATCH_SECONDS, draft=200, query=250)
    site.start("coordinator")
    site.start("client", "ada")
    start_busy(site, "bo")
    queries = {
        name: site.submit("Why is the sky blue?", {"strategy": "single", "participant": name})
        for name in ("ada", "bo")
    }
    site.wait_until(lambda: all(" taken, " in worker_log(site, name) for name in queries))
    # Two for each worker, tasks and events; the HTTP API tells of them some seconds later.
    site.wait_until(lambda: len(connections(rabbitmq_vhosts, rabbitmq_url)) == 6)
    before = connections(rabbitmq_vhosts, rabbitmq_url)

    answers = {name: site.result(query, timeout=150) for name, query in queries.items()}

    assert {answer["status"] for answer in answers.values()} == {"answered"}
    assert before <= connections(rabbitmq_vhosts, rabbitmq_url)
    for name, query in queries.items():
        life = site.life(query)
        assert outcomes(life) == {f"1.draft.{name}": "completed"}
        assert sum("outcome" in entry["what"] for entry in life["entries"]) == 1
        assert len(life["dispatches"]) == 1
        log = worker_log(site, name)
        assert log.count(" taken, ") == log.count("Task colm.draft[") == 1
        assert "onnection to broker lost" not in log


def connections(vhosts: VirtualHosts, url: str) -> set[str]:
    """The names of the connections that must show a sign of life every HEARTBEAT seconds."""
    found = [one for one in vhosts.connections(url) if one.get("timeout") == HEARTBEAT]
    return {str(one["name"]) for one in found}


def test_a_worker_takes_no_more_of_a_queue_than_its_engine_holds(
    site: Site, rabbitmq_url: str
) -> None:
    capacity, asked = 3, 10
    site.variables["COLM_CLIENTS__ADA__ENGINE__MAX_NUM_SEQS"] = str(capacity)
    site.configure("ada", delay=2)
    site.start("coordinator")
    site.wait_until(lambda: ready(rabbitmq_url, "colm.draft.ada") == 0)
    options = {"strategy": "single"}
    queries = site.python(
        "import json\nfrom colm.tasks import ask\n"
        f"print(json.dumps([ask.delay('Why?', **{options!r}).id for _ in range({asked})]))"
    )
    site.wait_until(lambda: ready(rabbitmq_url, "colm.draft.ada") == asked)
    site.start("client", "ada")

    held: list[int] = []
    while (waiting := ready(rabbitmq_url, "colm.draft.ada")) or not held:
        # Read in this order, a step that is done meanwhile counts as held: never too few.
        done = worker_log(site, "ada").count("Task colm.draft[") if waiting < asked else 0
        held.append(asked - waiting - done)
        time.sleep(0.05)

    # What it has just done may not be in its log yet.
    assert capacity <= max(held) < 2 * capacity
    assert {site.result(query)["status"] for query in queries} == {"answered"}


def ready(url: str, queue: str) -> int:
    """How many messages of the queue no worker has; none while there is no such queue."""
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        try:
            found: Any = connection.channel().queue_declare(queue, passive=True)
        except pika.exceptions.ChannelClosedByBroker:
            return -1
        return int(found.method.message_count)
