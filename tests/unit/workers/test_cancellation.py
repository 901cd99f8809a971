"""`tasks.cancel`: checked where it is called, and read from a queue of its own."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from kombu import Connection, Message

from colm.models.cancellation import Cancel
from colm.models.errors import BadMessage, InvalidAsk
from colm.tasks import cancel, dependencies
from colm.tasks.broker.publish import topology
from colm.tasks.cancellation import cancel_or_refuse
from colm.tasks.celery_app import app
from colm.workers.coordinator.cancellations import ControlReader, read_cancel
from colm.workers.coordinator.coordinator import Coordinator
from tests.unit.conftest import SetEnvironment
from tests.unit.coordination_site import ID, Site


@pytest.fixture(autouse=True)
def nothing_installed(environment: SetEnvironment, monkeypatch: pytest.MonkeyPatch) -> None:
    environment(COLM_BROKER="amqp://host/colm", COLM_DATABASE="sqlite:///unused.db")
    monkeypatch.setattr(dependencies, "_runtime", dependencies._Runtime())


@pytest.fixture
def sent(
    reachable: None,  # noqa: ARG001 - a fixture
    monkeypatch: pytest.MonkeyPatch,
) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = []
    monkeypatch.setattr(app, "send_task", lambda name, **o: sent.append({"name": name, **o}))
    return sent


def test_who_cancels_is_told_and_the_message_waits_behind_no_question(
    sent: list[dict[str, Any]],
) -> None:
    cancel.delay(ID, "asked by mistake")
    cancel.delay(query_id=ID, reason="again", by="eve")
    first, second = sent
    assert (first["name"], first["queue"].name) == ("colm.cancel", "colm.control")
    assert first["routing_key"] == "control"
    assert first["kwargs"]["query_id"] == ID
    assert first["kwargs"]["reason"] == "asked by mistake"
    assert "@" in first["kwargs"]["by"]
    assert second["kwargs"]["by"] == "eve"


@pytest.mark.parametrize(
    ("args", "fields"),
    [
        ((), {}),
        (("short",), {}),
        ((ID, "why", "more"), {}),
        ((ID,), {"reason": 5}),
        ((ID,), {"surprise": 1}),
        ((ID, "x" * 100_000), {}),
    ],
)
def test_what_cannot_be_cancelled_is_refused_before_anything_is_sent(
    sent: list[dict[str, Any]], args: tuple[Any, ...], fields: dict[str, Any]
) -> None:
    with pytest.raises(InvalidAsk):
        cancel.delay(*args, **fields)
    assert sent == []


def test_the_task_cancels_on_the_coordinator_of_its_process() -> None:
    site = Site()
    dependencies.install_coordinator(site.coordinator, site.record)
    site.ask()
    assert cancel.run(ID, "enough") == {"receipt": "cancelled", "query": ID}
    assert site.answers[0].reason == "cancelled: enough"


def test_a_question_that_still_lies_in_its_queue_is_refused_when_it_comes() -> None:
    site = Site()
    dependencies.install_coordinator(site.coordinator, site.record)
    assert cancel.run(ID, "enough", by="eve")["receipt"] == "unknown"
    assert site.record.refused[ID].reason == "cancelled by eve: enough"


def test_a_question_that_comes_while_it_is_cancelled_is_cancelled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    site = Site()
    refuse = site.record.refuse

    def asked_before(*args: Any) -> None:
        site.ask()
        refuse(*args)

    monkeypatch.setattr(site.record, "refuse", asked_before)
    wanted = Cancel(query_id=ID, reason="enough")
    assert cancel_or_refuse(site.coordinator, wanted) == "cancelled"
    assert site.answers[0].reason == "cancelled: enough"


def message(body: Any, content_type: str = "application/json") -> Message:
    text = body if isinstance(body, str) else json.dumps(body)
    return Message(
        body=text, content_type=content_type, content_encoding="utf-8",
        accept=["application/json"],
    )  # fmt: skip


def test_a_message_is_read_as_it_was_sent() -> None:
    found = read_cancel(message([[], {"query_id": ID, "reason": "why", "by": "eve"}, {}]))
    assert found.failure == "cancelled by eve: why"


@pytest.mark.parametrize(
    "body",
    ["{", {"query_id": ID}, [[], {"query_id": "x"}, {}], [[], {"query_id": ID, "more": 1}, {}], []],
)
def test_a_message_of_a_stranger_is_refused(body: Any) -> None:
    with pytest.raises(BadMessage):
        read_cancel(message(body))


def test_nothing_but_json_is_unpacked() -> None:
    with pytest.raises(BadMessage, match="not JSON"):
        read_cancel(message("anything", "application/x-python-serialize"))


def test_a_cancel_that_cannot_be_recorded_keeps_no_other_from_being_heard(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    site, done = Site(), list[str]()
    site.ask()

    def broken(_cancel: object) -> None:
        raise ValueError("cannot be recorded")

    monkeypatch.setattr(Coordinator, "cancel", lambda _self, cancel: broken(cancel))
    told = {"query_id": ID, "reason": "so", "by": "eve"}
    message: Any = SimpleNamespace(
        decode=lambda: [[], told, {}],
        ack=lambda: done.append("ack"), reject=lambda: done.append("reject"),
    )  # fmt: skip
    queue = topology().control()
    ControlReader(Connection("memory://"), queue, site.coordinator)._on_message(message)
    assert done == ["reject"]
