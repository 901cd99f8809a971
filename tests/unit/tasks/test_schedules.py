"""Beat orders an evaluation when the wall clock of its zone says so, summer and winter."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from colm.models.errors import InvalidAsk, SettingsError
from colm.tasks.config.schedules import beat_entries, schedule_of
from colm.tasks.config.settings import ScheduleSettings, load
from colm.tasks.config.time_windows import parse_moment

# 2026-01-12 and 2026-07-13 are Mondays; Berlin is at UTC+1 and UTC+2.
WINTER = datetime(2026, 1, 12, 21, 0, tzinfo=UTC)
SUMMER = datetime(2026, 7, 13, 20, 0, tzinfo=UTC)


def is_due(schedule: Any, *, last: datetime, now: datetime) -> bool:
    schedule.nowfun = lambda: now
    return bool(schedule.is_due(last).is_due)


@pytest.mark.parametrize("ten", [WINTER, SUMMER])
def test_ten_in_the_evening_is_ten_on_the_wall(ten: datetime) -> None:
    schedule = schedule_of("weekdays 22:00 Europe/Berlin")
    before = ten - timedelta(hours=3)
    assert not is_due(schedule, last=before, now=ten - timedelta(minutes=1))
    assert is_due(schedule, last=before, now=ten + timedelta(seconds=1))
    assert not is_due(schedule, last=ten + timedelta(seconds=1), now=ten + timedelta(hours=20))


def test_a_day_that_is_not_named_is_left_out() -> None:
    schedule = schedule_of("weekdays 22:00 Europe/Berlin")
    friday = WINTER + timedelta(days=4, minutes=1)
    assert not is_due(schedule, last=friday, now=friday + timedelta(days=2))
    assert is_due(schedule, last=friday, now=friday + timedelta(days=3))


def test_beat_keeps_and_compares_a_schedule() -> None:
    schedule = schedule_of("mon,wed 06:30 Europe/Berlin")
    assert pickle.loads(pickle.dumps(schedule)) == schedule
    assert schedule != schedule_of("mon,wed 06:30")
    assert schedule != schedule_of("mon 06:30 Europe/Berlin")


def test_the_settings_become_entries_of_beat() -> None:
    found = {"night": ScheduleSettings(evaluate="night.toml", when="daily 23:15")}
    assert beat_entries(found) == {
        "night": {
            "task": "colm.evaluate",
            "schedule": schedule_of("daily 23:15"),
            "args": ["night.toml"],
        }
    }


@pytest.mark.parametrize("text", ["22:00", "weekdays", "weekdays 22:00 Europe/Berlin now", ""])
def test_a_moment_that_is_none_says_why(text: str) -> None:
    with pytest.raises(InvalidAsk, match="is not of the form"):
        parse_moment(text)


def test_a_schedule_that_is_none_stops_the_process(tmp_path: Any) -> None:
    (tmp_path / "colm.toml").write_text('[schedules.night]\nwhen = "weekdys 22:00"\n')
    with pytest.raises(SettingsError, match=r"schedules\.night\.when: there is no day 'weekdys'"):
        load({}, tmp_path)
