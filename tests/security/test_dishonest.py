"""The cost of one dishonest client of four, and the kinds that its reliability reveals."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.security.dishonest import (
    ADVERSARY,
    KINDS,
    World,
    accuracy,
    ask,
    measure,
    reliability_of,
    table,
)

COUNTED = range(60, 100)


def test_the_defence_gives_back_what_instructing_and_copying_cost() -> None:
    rows = {str(row["kind"]): row for row in measure(120, seed=3)}
    assert set(rows) == {"none: all honest", *KINDS}
    for kind in ("instructing", "copying"):
        assert int(str(rows[kind]["with"])) > int(str(rows[kind]["without"]))
    honest = rows["none: all honest"]
    assert honest["with"] == honest["without"]  # nobody is left out for nothing
    assert "instructing" in table(list(rows.values()))


@pytest.mark.nightly
def test_a_client_left_out_costs_no_more_than_its_own_voice(figures: Callable[[str], None]) -> None:
    rows = measure(400, seed=1)
    figures(table(rows))
    right = {row["kind"]: row["with"] for row in rows}
    assert [right[kind] for kind in ("garbage", "flooding", "copying", "instructing")] == [150] * 4


@pytest.mark.parametrize("kind", ["garbage", "flooding", "copying", "instructing"])
def test_the_record_tells_the_dishonest_client_from_the_others(kind: str) -> None:
    scores = reliability_of(World(5, kind), range(30))  # type: ignore[arg-type]  # a kind
    assert scores[ADVERSARY] < 0.5
    assert min(score for name, score in scores.items() if name != ADVERSARY) > 0.6


def test_the_same_world_says_the_same_again() -> None:
    world = World(7, "garbage")
    assert ask(world, 3, {}) == ask(world, 3, {})
    assert accuracy(world, COUNTED, {}) == accuracy(world, COUNTED, {})
