"""What a log says again and again it says now and then, with how often it was."""

from __future__ import annotations

import logging

import pytest

from colm.workers.log_throttle import BURST, INTERVAL, LogThrottle


class Log:
    """A log with the filter, by a clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0
        self._filter = LogThrottle(lambda: self.now)
        self.said: list[str] = []

    def say(
        self,
        text: str,
        *args: object,
        of: str = "colm.workers.rabbitmq.permission_probe",
        level: int = 30,
    ) -> None:
        record = logging.LogRecord(of, level, __file__, 1, text, args, None)
        if self._filter.filter(record):
            self.said.append(record.getMessage())


def test_the_first_are_said_then_one_in_a_while_with_how_many_there_were() -> None:
    log = Log()
    for second in range(70):
        log.now = 100.0 + second
        log.say("trying again in %d s", second)
    assert log.said[:BURST] == [f"trying again in {n} s" for n in range(BURST)]
    assert log.said[BURST:] == [
        "trying again in 32 s (29 more like it)", "trying again in 62 s (29 more like it)",
    ]  # fmt: skip


def test_a_new_trouble_after_a_time_of_quiet_is_said_from_its_beginning() -> None:
    log = Log()
    for _ in range(10):
        log.say("away")
    log.now += 3 * INTERVAL
    for _ in range(10):
        log.say("away")
    assert len(log.said) == 2 * BURST


@pytest.mark.parametrize(
    ("of", "level"),
    [
        ("colm.tasks.queries", 30),
        ("colm.workers.coordinator.coordinator", 40),
        ("celery.app.trace", 20),
    ],
)
def test_what_tells_of_work_is_said_each_time(of: str, level: int) -> None:
    log = Log()
    for n in range(50):
        log.say("step %d failed", n, of=of, level=level)
    assert len(log.said) == 50


def test_troubles_of_different_kinds_do_not_silence_one_another() -> None:
    log = Log()
    for _ in range(50):
        log.say("away")
    log.say("refused")
    log.say("away", of="colm.models.backoff")
    assert log.said[BURST:] == ["refused", "away"]
