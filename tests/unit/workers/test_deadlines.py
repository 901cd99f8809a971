"""The coordinator's thread that minds deadlines, and what Flower is told of an end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from kombu.exceptions import OperationalError

from colm.models.errors import TransientError
from colm.models.messages import Tokens
from colm.tasks.celery_app import app
from colm.workers.coordinator import deadlines
from colm.workers.coordinator.deadlines import DeadlinePoller
from colm.workers.coordinator.flower_events import FlowerAnnouncer
from tests.unit.examples import an_answer

#: Longer than any of this takes (seconds).
LONG = 10.0


class Ticking:
    """Counts how often it is asked to look, and raises `errors` first."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.woken = threading.Semaphore(0)
        self.republished = threading.Semaphore(0)

    def process_due(self) -> int:
        self.woken.release()
        if self.errors:
            raise self.errors.pop(0)
        return 0

    def republish_undispatched(self) -> int:
        self.republished.release()
        return 0


@contextmanager
def running(ticking: Any) -> Iterator[None]:
    poller = DeadlinePoller(ticking)
    try:
        yield
    finally:
        poller.close()
    assert not poller.is_alive()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadlines, "POLL_SECONDS", 0.002)
    monkeypatch.setattr(deadlines, "REPUBLISH_EVERY", 3)


def test_deadlines_are_looked_at_every_tick_and_stranded_steps_now_and_then() -> None:
    ticking = Ticking()
    with running(ticking):
        assert ticking.republished.acquire(timeout=LONG)
        assert ticking.republished.acquire(timeout=LONG)
    looks = 0
    while ticking.woken.acquire(blocking=False):
        looks += 1
    assert looks >= 6


def test_no_error_stops_the_poller(caplog: pytest.LogCaptureFixture) -> None:
    ticking = Ticking(TransientError("the database is away"), RuntimeError("a fault of ours"))
    with running(ticking):
        assert ticking.republished.acquire(timeout=LONG)
    logged = [(record.levelname, record.getMessage()) for record in caplog.records]
    trouble = "deadlines: the database is away; trying again in 0.002 s"
    assert ("WARNING", trouble) in logged
    assert ("ERROR", "deadlines failed") in logged


class Dispatcher:
    """Stands in for Celery's event dispatcher."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.sent: list[dict[str, Any]] = []

    @contextmanager
    def open(self, **_: Any) -> Iterator[Dispatcher]:
        yield self

    def send(self, kind: str, **fields: Any) -> None:
        if self.error is not None:
            raise self.error
        self.sent.append({"kind": kind, **fields})


@pytest.fixture
def flower(monkeypatch: pytest.MonkeyPatch) -> Dispatcher:
    dispatcher = Dispatcher()
    monkeypatch.setattr(app.events, "default_dispatcher", dispatcher.open)
    return dispatcher


def test_flower_is_told_who_answered_and_how_long_it_took(flower: Dispatcher) -> None:
    tokens = Tokens(prompt=30, completion=12)
    FlowerAnnouncer().ended(an_answer(chosen="ada", rounds=2, tokens=tokens, seconds=1.5))
    assert flower.sent == [
        {
            "kind": "task-succeeded",
            "uuid": "query-0001",
            "result": "answered by ada, rounds: 2, tokens: 42",
            "runtime": 1.5,
        }
    ]


def test_flower_is_told_why_a_query_failed_or_was_refused(flower: Dispatcher) -> None:
    FlowerAnnouncer().ended(an_answer(status="failed", answer=None, reason="nobody drafted"))
    FlowerAnnouncer().refused("query-0002", "question is empty")
    assert [(sent["kind"], sent["exception"]) for sent in flower.sent] == [
        ("task-failed", "QueryFailed('nobody drafted')"),
        ("task-failed", "InvalidAsk('question is empty')"),
    ]


@pytest.mark.parametrize("error", [OperationalError("away"), ConnectionResetError("reset")])
def test_an_end_that_flower_cannot_hear_of_is_an_end_all_the_same(
    flower: Dispatcher, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    flower.error = error
    FlowerAnnouncer().ended(an_answer())
    assert "no event was sent for query query-0001" in caplog.text
