"""Marks are committed in groups, wait while the database is away, and are flushed at the end."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from datetime import datetime

import pytest

from colm.models.errors import TransientError
from colm.workers.coordinator import dispatch_marks
from colm.workers.coordinator.dispatch_marks import DispatchMarkBuffer
from tests.unit.memory_record import MemoryRecord

#: Longer than any of this takes (seconds).
LONG = 10.0


class Notes(MemoryRecord):
    """Notes each commit; refuses as many as `failures` says first."""

    def __init__(self) -> None:
        super().__init__()
        self.commits: list[list[str]] = []
        self.failures = 0
        self.looked = threading.Semaphore(0)
        self.stuck = threading.Event()
        self.stuck.set()

    def mark_dispatched(self, step_ids: Iterable[str], at: datetime) -> None:
        self.looked.release()
        assert self.stuck.wait(LONG)
        if self.failures:
            self.failures -= 1
            raise TransientError("the database is away")
        assert at.tzinfo is not None
        self.commits.append(list(step_ids))
        super().mark_dispatched(self.commits[-1], at)


@pytest.fixture
def record() -> Notes:
    return Notes()


@pytest.fixture
def grouped(record: Notes, monkeypatch: pytest.MonkeyPatch) -> Iterator[DispatchMarkBuffer]:
    monkeypatch.setattr(dispatch_marks, "GATHER", 0.02)
    monkeypatch.setattr(dispatch_marks, "PAUSE", 0.01)
    grouped = DispatchMarkBuffer(record)
    yield grouped
    grouped.close()


def test_marks_that_come_together_are_one_commit(
    record: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch_marks, "GATHER", LONG)
    grouped = DispatchMarkBuffer(record)
    for number in range(50):
        grouped([f"step {number}", f"other {number}"])
    grouped.close()
    assert len(record.commits) == 1
    assert len(record.marked) == 100


def test_a_mark_is_committed_without_waiting_for_the_end(
    record: Notes, grouped: DispatchMarkBuffer
) -> None:
    grouped(["one"])
    assert record.looked.acquire(timeout=LONG)
    grouped(["two"])
    assert record.looked.acquire(timeout=LONG)
    grouped.close()
    assert record.commits == [["one"], ["two"]]


def test_nothing_is_committed_where_nothing_was_sent(
    record: Notes, grouped: DispatchMarkBuffer
) -> None:
    assert not record.looked.acquire(timeout=0.1)
    grouped.close()
    assert record.commits == []


def test_marks_outlast_a_database_that_is_away(record: Notes, grouped: DispatchMarkBuffer) -> None:
    record.failures = 3
    grouped(["one"])
    for _ in range(4):
        assert record.looked.acquire(timeout=LONG)
    grouped.close()
    assert record.commits == [["one"]]


def test_closing_commits_what_was_gathered_and_ends_the_thread(record: Notes) -> None:
    grouped = DispatchMarkBuffer(record)
    grouped(["one"])
    grouped.close()
    assert record.commits == [["one"]]
    assert not grouped.is_alive()


def test_closing_gives_up_on_a_database_that_is_away(record: Notes) -> None:
    record.failures = 1_000_000
    grouped = DispatchMarkBuffer(record)
    grouped(["one"])
    grouped.close()
    assert not grouped.is_alive()
    assert record.commits == []


def test_marking_never_waits_for_a_commit(record: Notes, grouped: DispatchMarkBuffer) -> None:
    record.stuck.clear()
    grouped(["one"])
    assert record.looked.acquire(timeout=LONG)
    grouped(["two"])  # returns while the first commit is under way
    assert record.marked == {}
    record.stuck.set()
    grouped.close()
    assert record.commits == [["one"], ["two"]]
