"""A periodic thread outlives the errors of its function."""

from __future__ import annotations

import threading

import pytest

from colm.models.errors import TransientError
from colm.workers.periodic_thread import PeriodicThread

#: Longer than any of this takes (seconds).
LONG = 10.0


class Function:
    """Counts its calls, and raises `errors` first."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls = 0
        self.called = threading.Semaphore(0)

    def __call__(self) -> None:
        self.calls += 1
        self.called.release()
        if self.errors:
            raise self.errors.pop(0)


def test_errors_are_logged_and_the_next_call_follows(caplog: pytest.LogCaptureFixture) -> None:
    function = Function(TransientError("the database is away"), RuntimeError("a fault"))
    thread = PeriodicThread("poll", lambda: 0.001, function)
    thread.start()
    for _ in range(3):
        assert function.called.acquire(timeout=LONG)
    thread.close()
    assert not thread.is_alive()
    assert [(record.name, record.levelname) for record in caplog.records] == [
        ("colm.workers.periodic_thread.poll", "WARNING"),
        ("colm.workers.periodic_thread.poll", "ERROR"),
    ]


def test_the_first_call_waits_unless_it_is_immediate() -> None:
    waits, immediate = Function(), Function()
    threads = [
        PeriodicThread("waits", LONG, waits),
        PeriodicThread("immediate", LONG, immediate, immediately=True),
    ]
    for thread in threads:
        thread.start()
    assert immediate.called.acquire(timeout=LONG)
    for thread in threads:
        thread.close()
        assert not thread.is_alive()
    assert (waits.calls, immediate.calls) == (0, 1)


def test_closing_makes_one_more_call_even_after_an_error() -> None:
    function = Function(TransientError("away"), TransientError("away"))
    thread = PeriodicThread(
        "flush", 0.001, function, retry_after=LONG, immediately=True, once_more=True
    )
    thread.start()
    assert function.called.acquire(timeout=LONG)
    thread.close()
    assert not thread.is_alive()
    assert function.calls == 2


def test_the_function_may_stop_its_own_thread() -> None:
    def function() -> None:
        thread.stop()

    thread = PeriodicThread("once", 0.001, function)
    thread.start()
    thread.join(LONG)
    assert not thread.is_alive()
    thread.close()
