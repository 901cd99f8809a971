"""`colm dead` on a real RabbitMQ, with and without the rest of CoLM."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pika
import pytest
from kombu import Connection
from pika.adapters.blocking_connection import BlockingChannel

from colm.tasks.broker.dead_letter_queue import declare_queue
from colm.tasks.broker.topology import DEAD, EXCHANGES, PARKED, Topology, declare
from colm.tasks.config.settings import BrokerLimits
from tests.journeys.site import Site, outcomes

TOPOLOGY = Topology(limits=BrokerLimits(), clients=("ada",), servers=("main",))
NOWHERE = "postgresql+psycopg2://nobody:none@127.0.0.1:1/nothing"


@pytest.fixture
def channel(rabbitmq_url: str) -> Iterator[BlockingChannel]:
    with Connection(rabbitmq_url) as connection:
        declare(connection.default_channel, (*TOPOLOGY.everything(), TOPOLOGY.parked()))
    with pika.BlockingConnection(pika.URLParameters(rabbitmq_url)) as connection:
        found = connection.channel()
        found.confirm_delivery()
        yield found


@pytest.fixture
def site(rabbitmq_url: str, tmp_path: Path) -> Iterator[Site]:
    """A site whose database is away and of which no process runs."""
    found = Site(tmp_path, broker=rabbitmq_url, database=NOWHERE)
    found.configure("ada")
    try:
        yield found
    finally:
        found.close()


def publish(
    channel: BlockingChannel, exchange: str, key: str, body: bytes = b"{}", **headers: Any
) -> None:
    sent = pika.BasicProperties(
        headers=headers, content_type="application/json", content_encoding="utf-8", delivery_mode=2
    )
    channel.basic_publish(exchange, key, body, sent, mandatory=True)


def park(channel: BlockingChannel, letter: str, **changes: str) -> None:
    told = {"letter": letter, "reason": "rejected: so", "exchange": "colm.ask", "key": "ask"}
    headers = {f"x-colm-{name}": value for name, value in {**told, **changes}.items() if value}
    publish(channel, "", PARKED, b'[["Why?"], {}, {}]', id=letter, task="colm.ask", **headers)


def listed(site: Site) -> list[Any]:
    found: list[Any] = json.loads(site.colm("dead", "list", "--json"))
    return found


def test_a_message_that_no_queue_takes_is_dead_and_no_publisher_hears_of_it(
    channel: BlockingChannel, site: Site
) -> None:
    """The alternate exchange takes what `mandatory` would have returned."""
    publish(channel, "colm.steps", "draft.nobody", id="strange-0001", task="colm.draft")
    (letter,) = listed(site)
    assert letter["letter"] == "strange-0001"
    assert letter["reason"] == "unroutable: no queue reads 'draft.nobody' on colm.steps"
    assert letter["state"] == "not settled yet"
    channel.queue_delete(DEAD)
    with pytest.raises(pika.exceptions.UnroutableError):  # no dead letters either: it is told
        publish(channel, "colm.steps", "draft.nobody", id="strange-0002", task="colm.draft")


def test_listing_changes_neither_the_letters_nor_their_order(
    channel: BlockingChannel, site: Site
) -> None:
    names = [f"letter-{n:02}" for n in range(12)]
    for name in names:
        park(channel, name)
    for _ in range(2):
        assert [letter["letter"] for letter in listed(site)] == names
    some = json.loads(site.colm("dead", "list", "--json", "--limit", "5"))
    assert [letter["letter"] for letter in some] == names[:5]
    assert [letter["letter"] for letter in listed(site)] == names


def test_a_letter_is_shown_without_its_text_unless_asked(
    channel: BlockingChannel, site: Site
) -> None:
    park(channel, "letter-01")
    assert "Why?" not in site.colm("dead", "show", "letter-01")
    shown = json.loads(site.colm("dead", "show", "letter-01", "--texts", "--json"))
    assert shown["body"] == '[["Why?"], {}, {}]'
    assert "there is no letter 'letter-02'" in site.colm("dead", "show", "letter-02", status=1)


def test_a_replayed_letter_goes_where_it_was_first_published_as_it_was(
    channel: BlockingChannel, site: Site
) -> None:
    for name in ("letter-01", "letter-02", "letter-03"):
        park(channel, name)
    site.colm("dead", "replay", "letter-02")
    found, properties, body = channel.basic_get("colm.ask", auto_ack=True)
    assert found.routing_key == "ask"
    assert body == b'[["Why?"], {}, {}]'
    del properties.headers["x-delivery-count"]  # the broker's, of this delivery
    assert properties.headers == {"id": "letter-02", "task": "colm.ask"}
    assert (properties.delivery_mode, properties.content_type) == (2, "application/json")
    assert [letter["letter"] for letter in listed(site)] == ["letter-01", "letter-03"]


def test_letters_are_replayed_and_dropped_by_their_reason(
    channel: BlockingChannel, site: Site
) -> None:
    for name, reason in (("one-0001", "rejected: a"), ("two-0002", "expired: b")):
        park(channel, name, reason=reason)
    park(channel, "homeless", reason="rejected: c", exchange="", key="")
    told = json.loads(site.colm("dead", "replay", "--all", "--reason", "rejected", "--json"))
    assert [letter["letter"] for letter in told["replay"]] == ["one-0001"]
    assert told["kept"] == ["homeless"]
    assert [letter["letter"] for letter in listed(site)] == ["two-0002", "homeless"]
    assert "cannot be replayed" in site.colm("dead", "replay", "homeless", status=1)
    site.colm("dead", "drop", "--all")
    assert listed(site) == []
    assert "name letters to drop, or say --all" in site.colm("dead", "drop", status=1)
    assert "there is no letter 'x'" in site.colm("dead", "drop", "x", status=1)


def test_a_letter_that_is_not_settled_is_not_dropped(channel: BlockingChannel, site: Site) -> None:
    publish(channel, DEAD, "any", id="unsettled-1", task="colm.ask")
    assert "no coordinator has settled it" in site.colm("dead", "drop", "--all")
    (letter,) = listed(site)
    assert letter["letter"] == "unsettled-1"


def test_what_cannot_be_published_again_stays(channel: BlockingChannel, site: Site) -> None:
    park(channel, "letter-01", exchange="colm.gone")
    assert "404" in site.colm("dead", "replay", "letter-01", status=1)
    assert [letter["letter"] for letter in listed(site)] == ["letter-01"]


def test_a_full_parked_queue_loses_its_oldest(rabbitmq_url: str) -> None:
    small = Topology(limits=BrokerLimits(parked_letters=10), clients=(), servers=())
    with pika.BlockingConnection(pika.URLParameters(rabbitmq_url)) as connection:
        channel = connection.channel()
        declare_queue(channel, small.parked())
        channel.confirm_delivery()
        for n in range(13):
            park(channel, f"letter-{n:02}")
        left = []
        while (got := channel.basic_get(PARKED, auto_ack=True))[0] is not None:
            left.append(got[1].headers["id"])
    assert left == [f"letter-{n:02}" for n in range(3, 13)]


@pytest.fixture
def whole(rabbitmq_url: str, postgres_url: str, tmp_path: Path) -> Iterator[Site]:
    found = Site(tmp_path, broker=rabbitmq_url, database=postgres_url)
    found.configure("ada", "bo", draft=5)
    try:
        yield found
    finally:
        found.close()


def test_a_dead_step_is_settled_parked_and_replayed_without_changing_its_query(
    whole: Site, rabbitmq_url: str
) -> None:
    whole.start("coordinator")
    whole.start("server", "main")
    whole.start("client", "bo")
    query = whole.submit("Why?", {"rounds": 1})
    whole.wait_until(lambda: bool(whole.steps(query, "draft.bo")))
    with pika.BlockingConnection(pika.URLParameters(rabbitmq_url)) as connection:
        channel = connection.channel()
        got = channel.basic_get("colm.draft.ada")[0]
        channel.basic_reject(got.delivery_tag, requeue=False)
    answer = whole.result(query)
    assert answer["status"] == "answered"
    step = f"{query}.1.draft.ada.0"
    whole.wait_until(lambda: step in whole.colm("dead", "list", "--json"))
    letters = {
        letter["letter"]: letter for letter in json.loads(whole.colm("dead", "list", "--json"))
    }
    assert letters[step]["state"] == "parked"
    assert letters[step]["reason"] == "rejected: a worker rejected it"
    assert (letters[step]["exchange"], letters[step]["routing_key"]) == ("colm.steps", "draft.ada")
    before = outcomes(whole.life(query))
    whole.start("client", "ada")
    whole.colm("dead", "replay", step)
    log = whole.folder / "client-ada.log"
    whole.wait_until(lambda: f"'{step}'" in log.read_text() or "succeeded" in log.read_text())
    assert outcomes(whole.life(query)) == before
    assert whole.result(query) == answer
    assert step not in whole.colm("dead", "list", "--json")


def test_a_submission_is_recorded_though_its_queue_was_deleted(
    whole: Site, rabbitmq_url: str
) -> None:
    whole.configure("ada", "bo", draft=60)
    whole.start_all("ada", "bo")
    assert whole.ask("Before?", {"rounds": 1})["status"] == "answered"
    assert whole.stop("client", "ada", "bo") == 0
    query = whole.submit("After?", {"strategy": "single", "participant": "ada"})
    whole.wait_until(lambda: query in whole.statuses())
    assert whole.stop("coordinator") == 0
    with pika.BlockingConnection(pika.URLParameters(rabbitmq_url)) as connection:
        connection.channel().queue_delete("colm.submissions")
    whole.start("client", "ada")
    whole.wait_until(lambda: "colm.drafts" in whole.colm("dead", "list", "--json"))
    whole.start("coordinator")
    answer = whole.result(query)
    assert answer["status"] == "answered"
    assert listed(whole) == []


def test_every_exchange_has_the_alternate_that_the_topology_says(channel: BlockingChannel) -> None:
    for name, exchange in EXCHANGES.items():
        channel.exchange_declare(name, "topic", durable=True, arguments=exchange.arguments)
