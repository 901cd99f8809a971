"""Time windows of runs: `weekdays 22:00-06:00 Europe/Berlin`. Pure functions.

Times are wall-clock times in the window's zone. A window across midnight belongs to the day on
which it opens: `fri 22:00-06:00` is open on Saturday at 05:00, not on Friday at 05:00. A change to
daylight saving time makes it an hour longer or shorter.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from colm.models.errors import InvalidAsk
from colm.models.roster import nearest

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
GROUPS = {"daily": DAYS, "weekdays": DAYS[:5], "weekends": DAYS[5:]}
_FORM = re.compile(
    r"(?P<days>\S+)\s+(?P<opens>\d\d?:\d\d)-(?P<closes>\d\d?:\d\d)(?:\s+(?P<zone>\S+))?"
)


@dataclass(frozen=True, kw_only=True)
class TimeWindow:
    """Weekdays on which it opens, opening and closing time; equal times are a whole day."""

    days: frozenset[str]
    opens: time
    closes: time
    zone: ZoneInfo


def parse_window(text: str) -> TimeWindow:
    """Read `DAYS HH:MM-HH:MM [ZONE]`: days are daily, weekdays, weekends, mon,wed or mon-thu.

    The default zone is UTC. Raises InvalidAsk.
    """
    parts = _FORM.fullmatch(text.strip().lower() if "/" not in text else text.strip())
    if parts is None:
        raise InvalidAsk(f"window {text!r} is not of the form 'weekdays 22:00-06:00 Europe/Berlin'")
    return TimeWindow(
        days=_days(parts["days"].lower()),
        opens=_time(parts["opens"]),
        closes=_time(parts["closes"]),
        zone=zone_of(parts["zone"] or "UTC"),
    )


@dataclass(frozen=True, kw_only=True)
class WeeklyTime:
    """A time of day on weekdays."""

    days: frozenset[str]
    at: time
    zone: ZoneInfo


def parse_moment(text: str) -> WeeklyTime:
    """Read `DAYS HH:MM [ZONE]`, as in `weekdays 22:00 Europe/Berlin`. Raises InvalidAsk."""
    days, clock, zone = (*text.split(), "", "", "")[:3]
    if not clock or len(text.split()) > 3:
        raise InvalidAsk(f"{text!r} is not of the form 'weekdays 22:00 Europe/Berlin'")
    return WeeklyTime(days=_days(days.lower()), at=_time(clock), zone=zone_of(zone or "UTC"))


def in_window(now: datetime, window: TimeWindow) -> bool:
    """Whether the window is open at `now` (timezone-aware)."""
    local = now.astimezone(window.zone)
    today, clock = DAYS[local.weekday()], local.time()
    yesterday = DAYS[local.weekday() - 1]
    if window.opens < window.closes:
        return today in window.days and window.opens <= clock < window.closes
    return (today in window.days and clock >= window.opens) or (
        yesterday in window.days and clock < window.closes
    )


def next_opening(now: datetime, window: TimeWindow) -> datetime:
    """The next opening time; `now` while the window is open."""
    if in_window(now, window):
        return now
    local = now.astimezone(window.zone)
    for days in range(9):
        day = local.date() + timedelta(days=days)
        opening = datetime.combine(day, window.opens, window.zone)
        if opening > local and DAYS[day.weekday()] in window.days:
            return opening.astimezone(now.tzinfo)
    raise AssertionError("a window opens at least once a week")


def zone_of(name: str) -> ZoneInfo:
    """The time zone called `name`. Raises InvalidAsk."""
    try:
        return ZoneInfo("UTC" if name.upper() == "UTC" else name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidAsk(f"there is no time zone {name!r}: write it like Europe/Berlin") from error


def _days(text: str) -> frozenset[str]:
    if text in GROUPS:
        return frozenset(GROUPS[text])
    days: set[str] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        for day in (first, last) if dash else (first,):
            if day not in DAYS:
                raise InvalidAsk(f"there is no day {day!r}{nearest(day, (*DAYS, *GROUPS))}")
        start, end = DAYS.index(first), DAYS.index(last if dash else first)
        span = end - start if end >= start else end - start + 7
        days |= {DAYS[(start + n) % 7] for n in range(span + 1)}
    return frozenset(days)


def _time(text: str) -> time:
    """The time; 24:00 is midnight."""
    hour, _, minute = text.partition(":")
    try:
        return time(0 if (hour, minute) == ("24", "00") else int(hour), int(minute))
    except ValueError as error:
        raise InvalidAsk(f"there is no time {text!r}: write it like 22:00") from error
