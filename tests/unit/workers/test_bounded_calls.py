"""Calls are waited for as long as their callers say, and no longer."""

from __future__ import annotations

import os
import threading
import time

import pytest

from colm.models.errors import TransientError
from colm.workers import bounded_caller
from colm.workers.bounded_caller import BoundedCaller


@pytest.fixture
def over() -> threading.Event:
    """Ends what hangs."""
    return threading.Event()


def test_a_call_gives_what_it_returns_or_raises() -> None:
    calls = BoundedCaller("it")
    assert calls.call(lambda: 5, 60) == 5
    for error in (ValueError("x"), TimeoutError("its own")):

        def fail(error: Exception = error) -> None:
            raise error

        with pytest.raises(type(error), match=str(error)):
            calls.call(fail, 60)


def test_a_call_that_hangs_is_left_and_what_waits_behind_it_is_done_when_it_ends(
    over: threading.Event,
) -> None:
    calls = BoundedCaller("the database")
    with pytest.raises(TransientError, match="the database: no reply within 0 s"):
        calls.call(lambda: over.wait(60), 0.01)
    with pytest.raises(TransientError):
        calls.call(lambda: 5, 0.01)
    over.set()
    assert calls.call(lambda: 5, 60) == 5


def test_so_many_calls_run_at_once_and_no_more(over: threading.Event) -> None:
    running, most, calls = [0], [0], BoundedCaller("it", 3)

    def work() -> None:
        running[0] += 1
        most[0] = max(most[0], running[0])
        over.wait(60)
        running[0] -= 1

    callers = [threading.Thread(target=calls.call, args=(work, 60)) for _ in range(9)]
    for caller in callers:
        caller.start()
    until = time.monotonic() + 60
    while running[0] < 3 and time.monotonic() < until:
        time.sleep(0.005)
    over.set()
    for caller in callers:
        caller.join(60)
    assert most[0] == 3


def test_callers_share_the_call_that_is_under_way(over: threading.Event) -> None:
    calls, made, done = BoundedCaller("the broker"), list[int](), threading.Event()

    def work() -> int:
        made.append(1)
        over.wait(60)
        done.set()
        return len(made)

    for _ in range(3):
        with pytest.raises(TransientError):
            calls.share(work, 0.01)
    over.set()
    assert done.wait(60)
    assert made == [1]
    assert calls.share(work, 60) in (1, 2)  # the same, if it is not quite over


def test_what_is_stuck_is_freed(monkeypatch: pytest.MonkeyPatch, over: threading.Event) -> None:
    monkeypatch.setattr(bounded_caller, "STUCK_S", 0.05)
    calls = BoundedCaller("it", unstick=over.set)
    with pytest.raises(TransientError):
        calls.call(lambda: over.wait(60), 0.1)
    assert over.is_set()
    assert calls.call(lambda: 5, 60) == 5


def test_a_forked_child_has_threads_of_its_own(over: threading.Event) -> None:
    calls = BoundedCaller("it")
    with pytest.raises(TransientError):
        calls.call(lambda: over.wait(60), 0.01)
    child = os.fork()
    if child == 0:
        os._exit(0 if calls.call(lambda: 5, 30) == 5 else 1)
    over.set()
    assert os.waitpid(child, 0)[1] == 0
