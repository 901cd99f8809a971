"""Messages that a coordinator on the embedded broker, which keeps no dead letters, turns away."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from kombu import Message

from colm.tasks import dependencies
from colm.tasks.broker.rate_limit import dead_letter_bucket
from colm.workers.consumer import rejection
from colm.workers.consumer.rejection import reject
from tests.unit.conftest import SetEnvironment
from tests.unit.coordination_site import ID, Site


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.fixture
def embedded(site: Site, environment: SetEnvironment, monkeypatch: pytest.MonkeyPatch) -> Site:
    """A coordinator on the embedded broker, which keeps no dead letters."""
    environment(COLM_BROKER="redis+socket:///run/x.sock", COLM_DATABASE="sqlite:///unused.db")
    monkeypatch.setattr(dependencies, "_runtime", dependencies._Runtime())
    monkeypatch.setattr(rejection, "_letters", dead_letter_bucket())
    dependencies.install_coordinator(site.coordinator, site.record)
    return site


def an_ask(rejected: list[str]) -> Any:
    return SimpleNamespace(
        headers={"id": ID, "task": "colm.ask"}, body=b"[]",
        delivery_info={"exchange": "colm.ask", "routing_key": "ask"},
        reject_log_error=lambda *_: rejected.append(ID),
    )  # fmt: skip


def test_an_ask_that_an_embedded_coordinator_turns_away_is_refused(embedded: Site) -> None:
    rejected: list[str] = []
    reject(an_ask(rejected), "it has group", ())
    assert rejected == [ID]
    assert "rejected: it has group" in embedded.record.refused[ID].reason
    assert list(embedded.record.letters) == [ID]


def test_turning_a_message_away_never_ends_the_loop_that_takes_them(
    embedded: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ValueError("cannot be recorded")

    for name in ("refuse", "add_dead_letter"):
        monkeypatch.setattr(embedded.record, name, broken)
    rejected: list[str] = []
    reject(an_ask(rejected), "it has group", ())
    assert rejected == [ID]


def turned_away(
    message_id: str, task: str = "colm.ask", exchange: str = "colm.ask", key: str = "ask"
) -> None:
    reject(
        Message(
            body='[["Why?"], {}, {}]',
            headers={"id": message_id, "task": task, "eta": "2030-01-01"},
            delivery_info={"exchange": exchange, "routing_key": key},
            channel=SimpleNamespace(basic_reject=lambda *_, **__: None, no_ack_consumers=()),
        ),
        "it has eta",
        (),
    )


def test_an_ask_that_a_coordinator_does_not_let_in_ends_with_the_reason(embedded: Site) -> None:
    turned_away(ID)
    assert embedded.record.refused[ID].reason == ("the ask was dead-lettered: rejected: it has eta")
    assert embedded.record.letters[ID].reason == "rejected: it has eta"


def test_an_ask_that_was_put_into_its_queue_by_name_ends_too(embedded: Site) -> None:
    turned_away(ID, exchange="", key="colm.ask")
    assert ID in embedded.record.refused


def test_every_ask_ends_however_few_letters_are_kept(embedded: Site) -> None:
    asked = [f"query-{n:04}" for n in range(80)]
    for query_id in asked:
        turned_away(query_id)
    assert list(embedded.record.refused) == asked
    assert len(embedded.record.letters) == 60


def test_what_only_says_that_it_is_an_ask_ends_none(embedded: Site) -> None:
    turned_away(ID, exchange="colm.drafts")
    turned_away("query-0002", task="colm.submit")
    turned_away("no.query")
    assert embedded.record.refused == {}
