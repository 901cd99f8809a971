"""Evaluations by the clock: `[schedules.NAME]` of colm.toml as entries for Celery beat.

Beat only orders a run; when the run may ask is the run's own window. The clock is the wall clock of
a time zone of the schedule's own, whatever the zone of Celery and of the machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, tzinfo
from typing import Any

from celery.schedules import crontab

from colm.tasks.config.settings import ScheduleSettings
from colm.tasks.config.time_windows import parse_moment, zone_of


class LocalCrontab(crontab):
    """A crontab on the wall clock of a zone. Beat pickles it, and compares it with what it kept."""

    def __init__(self, zone: str, minute: int, hour: int, day_of_week: str) -> None:
        self.given = (zone, minute, hour, day_of_week)
        local = zone_of(zone)
        super().__init__(
            minute=str(minute),
            hour=str(hour),
            day_of_week=day_of_week,
            nowfun=lambda: datetime.now(local),
        )

    @property
    def tz(self) -> tzinfo:  # type: ignore[override]  # a cached property of the app's zone there
        return zone_of(self.given[0])

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self.given

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LocalCrontab) and self.given == other.given

    def __hash__(self) -> int:
        return hash(self.given)


def beat_entries(schedules: Mapping[str, ScheduleSettings]) -> dict[str, dict[str, Any]]:
    """Celery's `beat_schedule` for these schedules. A configuration is read when it is due."""
    return {
        name: {
            "task": "colm.evaluate",
            "schedule": schedule_of(found.when),
            "args": [found.evaluate],
        }
        for name, found in schedules.items()
    }


def schedule_of(when: str) -> LocalCrontab:
    """`weekdays 22:00 Europe/Berlin` for beat. Raises InvalidAsk."""
    moment = parse_moment(when)
    days = ",".join(sorted(moment.days))
    return LocalCrontab(moment.zone.key, moment.at.minute, moment.at.hour, days)
