"""What collaboration mends and costs, by hand."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colm.evaluation.stats.collaboration import against_control, change
from colm.evaluation.stats.costs import Cost, StageEnd, TokenPrice, cost_of, pareto, stage_rows
from colm.models.messages import Spent


def flow(*pairs: str) -> dict[str, tuple[bool, bool]]:
    """ "01" is wrong, then right."""
    return {f"q{n}": (pair[0] == "1", pair[1] == "1") for n, pair in enumerate(pairs)}


def test_recovery_is_of_the_wrong_drafts_and_regression_of_the_right_ones() -> None:
    # Drafts: 4 right, 6 wrong. Of the wrong 2 are mended, of the right 1 is spoiled.
    found = change(flow(*["11"] * 3, "10", *["01"] * 2, *["00"] * 4), seed=1)

    assert (found.n, found.stayed_right, found.recovered, found.spoiled, found.still_wrong) == (
        10, 3, 2, 1, 4,
    )  # fmt: skip
    assert found.recovery is not None
    assert found.regression is not None
    assert found.alone is not None
    assert found.after is not None
    assert found.gain is not None
    assert found.recovery.value == pytest.approx(2 / 6)
    assert found.recovery.n == 6
    assert (found.regression.value, found.regression.n) == (0.25, 4)
    assert (found.alone.value, found.after.value) == (0.4, 0.5)
    assert found.gain.gain.value == pytest.approx(0.1)
    assert (found.gain.only_first, found.gain.only_second) == (2, 1)


def test_nothing_failed_means_nothing_to_recover() -> None:
    found = change(flow("11", "10"), seed=1)
    assert found.recovery is None
    assert found.regression is not None
    assert found.regression.value == 0.5


def test_the_recovery_of_one_questions_drafts_is_not_known_whatever_the_seeds() -> None:
    # Three questions under five seeds. One client's drafts of the first are wrong, and all mended.
    flow = {f"q{q}/{s}": (q > 0, True) for q in range(3) for s in range(5)}
    clusters = {item: item.partition("/")[0] for item in flow}
    found = change(flow, seed=1, clusters=clusters)

    assert found.recovery is not None
    assert (found.recovery.value, found.recovery.n, found.recovery.clusters) == (1.0, 5, 1)
    assert (found.recovery.low, found.recovery.high) == pytest.approx((0.025, 1.0))
    assert found.regression is not None
    assert (found.regression.clusters, found.regression.value) == (2, 0.0)
    assert found.regression.high == pytest.approx(1 - 0.025 ** (1 / 2))

    control = {item: (right, right) for item, (right, _) in flow.items()}
    above = against_control(flow, control, seed=1, clusters=clusters).above_chance
    assert above is not None
    assert (above.p, above.gain.low, above.gain.high) == (1.0, -1.0, 1.0)


def test_the_control_is_compared_on_the_items_that_failed_in_both() -> None:
    # Ten failed: here 8 are mended, by chance 2, one of those by both: 7 against 1 alone.
    # An eleventh failed here only, and says nothing.
    here = flow(*["01"] * 8, *["00"] * 2, "01")
    chance = flow("01", *["00"] * 8, "01", "11")

    found = against_control(here, chance | {"elsewhere": (False, True)}, seed=1)

    assert found.above_chance is not None
    assert (found.above_chance.only_first, found.above_chance.only_second) == (7, 1)
    assert found.above_chance.gain.value == pytest.approx(0.6)
    assert found.above_chance.p == pytest.approx(2 * 9 / 2**8)  # (C(8,0) + C(8,1)) / 2^8, twice
    assert (found.above_chance.gain.n, found.control.n) == (10, 11)
    assert found.spoiled_above_chance is None


def test_a_ledger_is_priced_by_participant_and_direction() -> None:
    ledger = [
        Spent(participant="ada", role="client", act="plan", calls=8, prompt=1000, completion=200),
        Spent(participant="main", role="server", act="plan", calls=1, prompt=500, completion=40),
        Spent(participant="main", role="server", act="solve", calls=1, prompt=600, completion=300),
    ]

    found = cost_of(ledger, {"main": TokenPrice(input=2.5, output=10.0)})

    # 1100 tokens in at 2.5 and 340 out at 10 dollars a million: 0.00275 + 0.0034.
    assert found.dollars == pytest.approx(0.00615)
    assert (found.calls, found.prompt_tokens, found.completion_tokens) == (10, 2100, 540)
    assert (found.tokens, found.plan_tokens) == (2640, 240)


def test_the_stages_of_cope_by_hand() -> None:
    ends = [
        *[StageEnd(stage=1, right=True, cost=Cost(dollars=0.0, prompt_tokens=10))] * 5,
        StageEnd(stage=2, right=True, cost=Cost(dollars=0.2, prompt_tokens=20)),
        StageEnd(stage=2, right=False, cost=Cost(dollars=0.4, prompt_tokens=40)),
        StageEnd(stage=3, right=True, cost=Cost(dollars=1.0, prompt_tokens=90)),
    ]

    first, second, third = stage_rows(ends)

    assert (first.reached, first.ended, first.deferred) == (8, 5, 3)
    assert (first.defer_rate, first.accuracy, first.mean_dollars) == (3 / 8, 1.0, 0.0)
    assert (second.reached, second.defer_rate, second.accuracy) == (3, 1 / 3, 0.5)
    assert second.mean_dollars == pytest.approx(0.3)
    assert (third.reached, third.defer_rate, third.mean_tokens) == (1, 0.0, 90)
    assert stage_rows([])[0].defer_rate is None


def test_what_ended_nowhere_failed_in_its_last_stage() -> None:
    ends = [
        StageEnd(stage=0, right=False, cost=Cost()),
        StageEnd(stage=0, right=False, cost=Cost(), reached=2),
        StageEnd(stage=1, right=True, cost=Cost()),
    ]

    assert [(row.reached, row.deferred, row.ended, row.failed) for row in stage_rows(ends)] == [
        (3, 2, 1, 0), (2, 1, 0, 1), (1, 0, 0, 1),
    ]  # fmt: skip


def test_what_lost_its_server_in_stage_3_has_not_ended_in_stage_2() -> None:
    lost = StageEnd(stage=2, right=True, cost=Cost(dollars=2), reached=3, accepted=False)
    ends = [
        lost,
        replace(lost, right=False),
        replace(lost, reached=2),
        replace(lost, reached=2, accepted=True),
        StageEnd(stage=3, right=True, cost=Cost(dollars=8), reached=3),
    ]

    _, second, third = stage_rows(ends)

    assert (second.reached, second.deferred, second.ended, second.failed) == (5, 3, 2, 0)
    assert (second.right, second.unaccepted) == (2, 1)
    assert (third.ended, third.right, third.failed, third.right_before) == (1, 1, 2, 1)
    assert third.mean_dollars == pytest.approx(4)
    rows = stage_rows(ends)
    assert sum(row.ended + row.failed for row in rows) == len(ends)
    assert sum(row.right + row.right_before for row in rows) == sum(end.right for end in ends)


def test_the_front_is_what_nobody_beats_on_both() -> None:
    points = {
        "cheap": (1.0, 0.3),
        "good": (5.0, 0.8),
        "wasteful": (6.0, 0.7),
        "equal": (5.0, 0.8),
        "dear": (9.0, 0.8),
        "best": (20.0, 0.9),
    }
    assert pareto(points) == ["cheap", "good", "equal", "best"]


def beaten(point: tuple[float, float], by: Iterable[tuple[float, float]]) -> bool:
    return any(c <= point[0] and r >= point[1] and (c, r) != point for c, r in by)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=12))
def test_everything_off_the_front_is_beaten_by_something_on_it(
    drawn: list[tuple[int, int]],
) -> None:
    points = {str(n): (float(c), float(r)) for n, (c, r) in enumerate(drawn)}
    front = pareto(points)
    on = [points[name] for name in front]

    assert not any(beaten(points[name], points.values()) for name in front)
    assert all(beaten(points[name], on) for name in points if name not in front)
    assert on == sorted(on)
