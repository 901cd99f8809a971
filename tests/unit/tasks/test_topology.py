"""Every queue is durable, bounded, of the quorum kind, and says where its dead letters go."""

from __future__ import annotations

from typing import Any

import pytest
from kombu import Connection, Queue

from colm.models.messages import Act, Role
from colm.tasks.broker.topology import (
    DEAD,
    EXCHANGES,
    Topology,
    declare,
    submission_key,
    topology_of,
)
from colm.tasks.config.settings import BrokerLimits, Settings
from tests.unit.examples import a_step

SITE = Topology(
    limits=BrokerLimits(queue_length=500, delivery_limit=3),
    clients=("ada", "bo"),
    servers=("main",),
)


def test_the_site_has_these_queues_and_no_others() -> None:
    table = {q.name: (q.exchange.name, q.routing_key) for q in SITE.everything()}
    assert table == {
        "colm.dead": ("colm.dead", "#"),
        "colm.ask": ("colm.ask", "ask"),
        "colm.submissions": ("colm.drafts", "#"),
        "colm.synthesize.main": ("colm.steps", "synthesize.main"),
        "colm.draft.ada": ("colm.steps", "draft.ada"),
        "colm.draft.bo": ("colm.steps", "draft.bo"),
        "colm.refine.ada": ("colm.guidance", "refine.ada"),
        "colm.refine.bo": ("colm.guidance", "refine.bo"),
        **{f"colm.overnight.{n}": ("colm.steps", f"overnight.{n}") for n in ("ada", "bo", "main")},
    }


@pytest.mark.parametrize("queue", SITE.everything(), ids=lambda queue: queue.name)
def test_a_queue_is_a_durable_quorum_queue_of_a_durable_topic_exchange(queue: Queue) -> None:
    assert queue.durable
    assert not queue.auto_delete
    assert not queue.exclusive
    assert (queue.queue_arguments or {})["x-queue-type"] == "quorum"
    assert (queue.exchange.type, queue.exchange.durable) == ("topic", True)
    assert queue.exchange.delivery_mode == 2  # persistent


@pytest.mark.parametrize(
    "queue", [q for q in SITE.everything() if q.name != DEAD], ids=lambda queue: queue.name
)
def test_a_work_queue_refuses_what_it_cannot_hold_and_keeps_its_dead(queue: Queue) -> None:
    assert queue.queue_arguments == {
        "x-queue-type": "quorum",
        "x-delivery-limit": 3,
        "x-max-length": 500,
        "x-overflow": "reject-publish",
        "x-dead-letter-exchange": "colm.dead",
        "x-dead-letter-strategy": "at-least-once",
    }


def test_the_dead_are_never_dropped_for_want_of_room() -> None:
    dead = SITE.dead().queue_arguments or {}
    assert dead["x-overflow"] == "reject-publish"
    assert dead["x-max-length"] == 500
    assert dead["x-delivery-limit"] >= 1_000_000  # RabbitMQ 4 drops after 20 by default


def test_the_parked_are_bounded_and_the_oldest_go_first() -> None:
    parked = SITE.parked()
    arguments = parked.queue_arguments or {}
    assert (parked.name, parked.exchange.name) == ("colm.parked", "")
    assert arguments["x-overflow"] == "drop-head"
    assert arguments["x-max-length"] == BrokerLimits().parked_letters
    assert arguments["x-max-length-bytes"] > 0
    assert arguments["x-delivery-limit"] >= 1_000_000


def test_what_no_queue_takes_goes_to_the_dead() -> None:
    for name, exchange in EXCHANGES.items():
        wanted = {} if name == DEAD else {"alternate-exchange": DEAD}
        assert exchange.arguments == wanted


@pytest.mark.parametrize(
    ("exchange", "key", "queue"),
    [
        ("colm.ask", "ask", "colm.ask"),
        ("colm.drafts", "draft.anyone", "colm.submissions"),
        ("colm.steps", "draft.bo", "colm.draft.bo"),
        ("colm.steps", "draft.nobody", None),
        ("colm.dead", "draft.bo", None),
        ("", "colm.ask", None),
    ],
)
def test_the_queue_that_takes_a_message_is_known(
    exchange: str, key: str, queue: str | None
) -> None:
    found = SITE.queue_for(exchange, key)
    assert (found and found.name) == queue


@pytest.mark.parametrize(
    ("act", "participant", "role", "queue"),
    [
        ("draft", "ada", "client", "colm.draft.ada"),
        ("refine", "ada", "client", "colm.refine.ada"),
        ("select", "main", "server", "colm.synthesize.main"),
        ("synthesize", "main", "server", "colm.synthesize.main"),
        ("draft", "main", "server", "colm.synthesize.main"),  # strategy single, the server alone
        ("plan", "ada", "client", "colm.draft.ada"),
        ("plan", "main", "server", "colm.synthesize.main"),
    ],
)
def test_a_step_goes_to_a_queue_that_its_participant_reads(
    act: Act, participant: str, role: Role, queue: str
) -> None:
    step = a_step(participant, act, role=role)
    found = SITE.for_step(step)
    assert found.name == queue
    assert found.name in {q.name for q in SITE.everything()}
    reads = SITE.of_client(participant) if role == "client" else SITE.of_server(participant)
    assert found.name in {q.name for q in reads}


def test_what_can_wait_goes_to_a_queue_of_its_own() -> None:
    step = a_step("ada", "refine").model_copy(update={"lane": "overnight"})
    assert SITE.for_step(step) == SITE.overnight("ada")
    assert SITE.overnight("ada") in SITE.of_client("ada")


def test_a_participant_submits_under_its_own_name() -> None:
    assert submission_key("client", "ada") == "draft.ada"
    assert submission_key("server", "main") == "guidance.main"


def test_the_topology_follows_the_settings() -> None:
    found = topology_of(Settings())
    assert (found.clients, found.servers) == (("ada", "bo", "cy"), ("main",))
    assert found.limits == BrokerLimits()


def test_every_exchange_is_declared_with_some_queue() -> None:
    assert {q.exchange.name for q in SITE.everything()} == set(EXCHANGES)


def test_no_two_queues_would_get_the_same_message() -> None:
    routes = [(q.exchange.name, q.routing_key) for q in SITE.everything()]
    assert len(set(routes)) == len(routes)
    for queue in SITE.everything():
        if "#" in str(queue.routing_key):
            assert [q.name for q in SITE.everything() if q.exchange == queue.exchange] == [
                queue.name
            ]


def test_declaring_binds_each_queue_to_its_exchange() -> None:
    with Connection("memory://") as connection:
        channel: Any = connection.default_channel
        declare(channel, SITE.everything())
        bound = {(key.queue, key.exchange, key.routing_key) for key in channel.state.bindings}
    assert bound >= {(q.name, q.exchange.name, q.routing_key) for q in SITE.everything()}


def test_what_is_cancelled_waits_behind_no_question_and_reaches_every_process() -> None:
    control = SITE.control()
    assert (control.name, control.exchange.name, control.routing_key) == (
        "colm.control", "colm.ask", "control",
    )  # fmt: skip
    stops = {queue.name: queue for queue in SITE.all_step_cancellations()}
    assert set(stops) == {f"colm.step-cancellations.{name}" for name in ("ada", "bo", "main")}
    assert stops["colm.step-cancellations.ada"].routing_key == "cancel.ada"
    for queue in stops.values():
        assert (queue.queue_arguments or {})["x-queue-type"] == "stream"
        assert queue.name not in {q.name for q in SITE.everything()}
