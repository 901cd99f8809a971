"""Who enters the batch next, and what is kept of those that leave it."""

from __future__ import annotations

import random
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from colm.models.engines.native.prefix_cache import MIN_SHARED, PrefixCache, shared_prefix
from colm.models.engines.native.waiting_queue import PATIENCE, KVBudget, WaitingQueue


def _line(*, interactive: int, overnight: int) -> WaitingQueue[str]:
    line: WaitingQueue[str] = WaitingQueue()
    for number in range(overnight):
        line.join(f"night{number}", overnight=True)
    for number in range(interactive):
        line.join(f"day{number}", overnight=False)
    return line


def _drained(line: WaitingQueue[str]) -> list[str]:
    return [line.pop() for _ in range(len(line))]


def test_interactive_requests_go_before_overnight_ones() -> None:
    assert _drained(_line(interactive=2, overnight=2)) == ["day0", "day1", "night0", "night1"]


def test_a_busy_day_slows_the_night_but_does_not_stop_it() -> None:
    order = _drained(_line(interactive=3 * PATIENCE, overnight=5))

    assert [order.index(f"night{n}") for n in range(3)] == [
        PATIENCE,
        2 * PATIENCE + 1,
        3 * PATIENCE + 2,
    ]


def test_whoever_is_first_stays_first_until_taken() -> None:
    line = _line(interactive=1, overnight=1)

    assert line.first() == line.first() == "day0"
    assert line.pop() == "day0"
    assert line.first() == "night0"


def test_those_who_have_gone_are_dropped_from_both_lanes() -> None:
    line = _line(interactive=2, overnight=2)

    line.drop(lambda item: item.endswith("0"))

    assert _drained(line) == ["day1", "night1"]
    assert line.first() is None


def test_room_is_a_rectangle_as_long_as_its_longest_row() -> None:
    room = KVBudget(rows=4, tokens=100)

    assert room.fits([25, 25, 25], 25)
    assert not room.fits([25, 25, 25], 26)
    assert not room.fits([40, 10], 10)
    assert not room.fits([1, 1, 1, 1], 1)
    assert room.fits([], 100)
    assert not room.fits([], 101)


tokens = st.lists(st.integers(0, 2), max_size=60)


@given(tokens, tokens)
def test_the_shared_prefix_is_the_longest_one(one: list[int], other: list[int]) -> None:
    length = shared_prefix(one, other)

    assert one[:length] == other[:length]
    assert length == min(len(one), len(other)) or one[length] != other[length]


def _long(*tail: int) -> list[int]:
    return [*range(MIN_SHARED), *tail]


def test_the_longest_kept_prefix_is_found_whoever_left_it() -> None:
    kept: PrefixCache[str] = PrefixCache(100)
    kept.put("a", _long(1, 2), "short")
    kept.put("b", _long(1, 2, 3), "long")

    match = kept.match(_long(1, 2, 3, 4))

    assert match is not None
    assert (match.kv, match.length) == ("long", MIN_SHARED + 3)


def test_the_last_token_of_a_prompt_is_never_taken_as_known() -> None:
    kept: PrefixCache[str] = PrefixCache(100)
    kept.put("a", _long(1, 2), "kv")

    match = kept.match(_long(1, 2))

    assert match is not None
    assert match.length == MIN_SHARED + 1


def test_a_prefix_that_is_hardly_shared_is_not_worth_it() -> None:
    kept: PrefixCache[str] = PrefixCache(100)
    kept.put("a", _long(1, 2), "kv")

    assert kept.match([*range(MIN_SHARED - 1), 99, 98]) is None
    assert kept.match([]) is None


def test_what_was_used_longest_ago_is_forgotten_first() -> None:
    kept: PrefixCache[str] = PrefixCache(3 * 10)
    for name, start in (("a", 100), ("b", 200), ("c", 300)):
        kept.put(name, range(start, start + 10), name)
    assert kept.match(range(100, 120)) is not None

    kept.put("d", range(400, 410), "d")

    assert kept.match(range(200, 220)) is None
    assert kept.match(range(100, 120)) is not None


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 60)), max_size=30))
def test_no_more_is_kept_than_allowed(visits: Sequence[tuple[str, int]]) -> None:
    kept: PrefixCache[int] = PrefixCache(50)
    rng = random.Random(0)
    for name, length in visits:
        kept.put(name, [rng.randrange(9) for _ in range(length)], length)
        assert 0 <= kept.tokens <= 50

    kept.clear()
    assert kept.tokens == 0
