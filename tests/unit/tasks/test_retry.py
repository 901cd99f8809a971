"""Waiting out what is away, with growing pauses, and not for ever."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

import pytest

from colm.models.backoff import Backoff
from colm.models.errors import BadMessage, Overloaded, SettingsError, TransientError
from colm.tasks.broker.retry import FIRST_PAUSE, GIVE_UP_AFTER, LONGEST_PAUSE, retry_transient


class Clock:
    """A clock that only a pause moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def read(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    def backoff(self, jitter: float = 0.0) -> Backoff:
        return Backoff(
            first=FIRST_PAUSE,
            longest=LONGEST_PAUSE,
            jitter=jitter,
            rng=random.Random(0),
            clock=self.read,
            sleep=self.sleep,
        )

    def wait_for(self, work: Callable[[], str]) -> str:
        return retry_transient(work, backoff=self.backoff())


def failing(times: int, error: Exception) -> Callable[[], str]:
    left = [error] * times

    def work() -> str:
        if left:
            raise left.pop()
        return "done"

    return work


def test_what_works_at_once_is_not_waited_for() -> None:
    clock = Clock()
    assert clock.wait_for(lambda: "done") == "done"
    assert clock.pauses == []


def test_pauses_double_up_to_the_longest() -> None:
    clock = Clock()
    assert clock.wait_for(failing(9, Overloaded("full"))) == "done"
    assert clock.pauses[:3] == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE]
    assert clock.pauses[-2:] == [LONGEST_PAUSE, LONGEST_PAUSE]


def test_the_last_error_is_raised_once_too_much_time_has_passed() -> None:
    clock = Clock()
    with pytest.raises(TransientError, match="still away"):
        clock.wait_for(failing(10_000, TransientError("still away")))
    assert GIVE_UP_AFTER <= clock.now <= GIVE_UP_AFTER + LONGEST_PAUSE


def test_an_error_that_will_not_pass_is_not_waited_out() -> None:
    clock = Clock()
    with pytest.raises(BadMessage):
        clock.wait_for(failing(1, BadMessage("nonsense")))
    assert clock.pauses == []


def test_a_refusal_is_waited_out_for_as_long_as_is_said_and_no_longer() -> None:
    clock = Clock()

    def wait_for(work: Callable[[], str]) -> str:
        return retry_transient(work, backoff=clock.backoff(), refused_for=30)

    assert wait_for(failing(3, SettingsError("no right"))) == "done"
    with pytest.raises(SettingsError, match="no right"):
        wait_for(failing(10_000, SettingsError("no right")))
    assert 30 <= clock.now <= 30 + 2 * LONGEST_PAUSE
    with pytest.raises(SettingsError):
        clock.wait_for(failing(1, SettingsError("no right")))


def test_pauses_begin_again_after_a_success() -> None:
    backoff = Clock().backoff()
    assert [backoff.next_pause() for _ in range(3)] == [0.1, 0.2, 0.4]
    backoff.reset()
    assert backoff.next_pause() == 0.1


def test_jitter_shortens_a_pause_by_its_share_at_most() -> None:
    backoff = Clock().backoff(jitter=0.5)
    pauses = [backoff.next_pause() for _ in range(20)]
    assert len(set(pauses)) == len(pauses)
    assert all(LONGEST_PAUSE / 2 <= pause <= LONGEST_PAUSE for pause in pauses[8:])


def test_a_set_event_ends_the_retries_with_the_last_error() -> None:
    stop = threading.Event()
    stop.set()
    backoff = Backoff(first=60.0, longest=60.0, sleep=stop.wait)
    with pytest.raises(TransientError, match="away"):
        retry_transient(failing(2, TransientError("away")), backoff=backoff)
