"""When a run may ask: days, midnight, and the nights when clocks change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colm.models.errors import InvalidAsk
from colm.tasks.config.time_windows import DAYS, in_window, next_opening, parse_window

BERLIN = ZoneInfo("Europe/Berlin")
MOMENTS = st.datetimes(
    datetime.fromisoformat("2025-01-01"),
    datetime.fromisoformat("2028-01-01"),
    timezones=st.just(UTC),
)
CLOCKS = st.times().map(lambda t: t.strftime("%H:%M"))
DAY_SETS = st.sets(st.sampled_from(DAYS), min_size=1).map(sorted)


def berlin(day: int, clock: str, month: int = 3) -> datetime:
    hour, minute = clock.split(":")
    return datetime(2026, month, day, int(hour), int(minute), tzinfo=BERLIN)


# 2026-03-06 is a Friday.
@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        (berlin(6, "21:59"), False),
        (berlin(6, "22:00"), True),
        (berlin(7, "05:59"), True),  # Friday's night, on Saturday
        (berlin(7, "06:00"), False),
        (berlin(7, "23:00"), False),  # Saturday night is none of a weekday
        (berlin(8, "23:00"), False),
        (berlin(9, "05:00"), False),  # Sunday's night, on Monday
        (berlin(9, "22:00"), True),
    ],
)
def test_a_night_belongs_to_the_day_on_which_it_begins(moment: datetime, expected: bool) -> None:
    assert in_window(moment, parse_window("weekdays 22:00-06:00 Europe/Berlin")) is expected


@given(MOMENTS, CLOCKS, CLOCKS, DAY_SETS)
def test_the_two_halves_of_a_day_cover_it_once(
    moment: datetime, opens: str, closes: str, days: list[str]
) -> None:
    """At any moment exactly one is open of a daily window and of what it leaves out."""
    if opens == closes:
        assert in_window(moment, parse_window(f"daily {opens}-{closes} Europe/Berlin"))
        return
    inside = parse_window(f"daily {opens}-{closes} Europe/Berlin")
    outside = parse_window(f"daily {closes}-{opens} Europe/Berlin")
    assert in_window(moment, inside) != in_window(moment, outside)
    some = parse_window(f"{','.join(days)} {opens}-{closes} Europe/Berlin")
    others = sorted(set(DAYS) - set(days))
    if others:
        rest = parse_window(f"{','.join(others)} {opens}-{closes} Europe/Berlin")
        assert in_window(moment, inside) == (in_window(moment, some) or in_window(moment, rest))


@given(MOMENTS, CLOCKS, CLOCKS, DAY_SETS)
def test_the_next_opening_is_open_and_nothing_before_it_is(
    moment: datetime, opens: str, closes: str, days: list[str]
) -> None:
    window = parse_window(f"{','.join(days)} {opens}-{closes} Europe/Berlin")
    opening = next_opening(moment, window)
    assert moment <= opening <= moment + timedelta(days=8)
    local = opening.astimezone(BERLIN)
    if local.replace(fold=0).utcoffset() == local.replace(fold=1).utcoffset():
        # An hour that spring skips does not exist to be open in; what follows it is.
        assert in_window(opening, window) or not _exists(local)
    for share in (0.1, 0.5, 0.9):
        before = moment + (opening - moment) * share
        if opening > moment and before < opening - timedelta(hours=1):
            assert not in_window(before, window)


def _exists(local: datetime) -> bool:
    return local.astimezone(UTC).astimezone(BERLIN) == local


def test_a_night_is_as_long_as_the_clocks_make_it() -> None:
    """Clocks go forward on 2026-03-29 and back on 2026-10-25, both Sundays."""
    window = parse_window("sat 22:00-06:00 Europe/Berlin")

    def minutes_open(start: datetime) -> int:
        first = start.astimezone(UTC)
        return sum(in_window(first + timedelta(minutes=n), window) for n in range(24 * 60))

    assert minutes_open(berlin(14, "12:00")) == 8 * 60
    assert minutes_open(berlin(28, "12:00")) == 7 * 60
    assert minutes_open(berlin(24, "12:00", month=10)) == 9 * 60


@pytest.mark.parametrize(
    ("text", "days"),
    [("daily", DAYS), ("weekends", ("sat", "sun")), ("mon,wed", ("mon", "wed")),
     ("fri-mon", ("fri", "sat", "sun", "mon")), ("tue-thu,sun", ("tue", "wed", "thu", "sun"))],
)  # fmt: skip
def test_days_are_named_in_groups_lists_and_spans(text: str, days: tuple[str, ...]) -> None:
    assert parse_window(f"{text} 08:00-10:00").days == frozenset(days)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("22:00-06:00", "is not of the form"),
        ("weekday 22:00-06:00", "did you mean 'weekdays'"),
        ("mon 25:00-06:00", "no time '25:00'"),
        ("mon 22:61-06:00", "no time '22:61'"),
        ("mon 22:00-06:00 Europe/Berln", "no time zone 'Europe/Berln'"),
    ],
)
def test_a_window_that_is_none_says_why(text: str, complaint: str) -> None:
    with pytest.raises(InvalidAsk, match=complaint):
        parse_window(text)
