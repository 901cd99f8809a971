"""Scheduled evaluations: `[schedules.NAME]` of colm.toml as entries for Celery beat.

Beat starts a run; the run's own window says when it may ask. Times are in the schedule's time zone.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, tzinfo
from typing import Any

from celery.schedules import crontab

from colm.tasks.config.settings import ScheduleSettings
from colm.tasks.config.time_windows import parse_moment, zone_of


class LocalCrontab(crontab):
    """A crontab in a time zone. Beat pickles it, and compares it with the pickled one."""

    def __init__(self, zone: str, minute: int, hour: int, day_of_week: str) -> None:
        self.arguments = (zone, minute, hour, day_of_week)
        local = zone_of(zone)
        super().__init__(
            minute=str(minute),
            hour=str(hour),
            day_of_week=day_of_week,
            nowfun=lambda: datetime.now(local),
        )

    @property
    def tz(self) -> tzinfo:  # type: ignore[override]  # a cached property of the app's zone there
        return zone_of(self.arguments[0])

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self.arguments

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LocalCrontab) and self.arguments == other.arguments

    def __hash__(self) -> int:
        return hash(self.arguments)


def beat_entries(schedules: Mapping[str, ScheduleSettings]) -> dict[str, dict[str, Any]]:
    """Celery's `beat_schedule`. A configuration is read when its run is due."""
    return {
        name: {
            "task": "colm.evaluate",
            "schedule": schedule_of(schedule.when),
            "args": [schedule.evaluate],
        }
        for name, schedule in schedules.items()
    }


def schedule_of(when: str) -> LocalCrontab:
    """The schedule of `weekdays 22:00 Europe/Berlin`. Raises InvalidAsk."""
    moment = parse_moment(when)
    days = ",".join(sorted(moment.days))
    return LocalCrontab(moment.zone.key, moment.at.minute, moment.at.hour, days)
