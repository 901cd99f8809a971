"""What becomes of a step that may have killed its worker."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from colm.models.redelivery import (
    MOST_ATTEMPTS,
    Again,
    AttemptKind,
    AttemptLimits,
    GiveUp,
    Tried,
    what_next,
)

NOW = datetime(2026, 3, 1, tzinfo=UTC)
LIMITS = AttemptLimits(in_company=2, alone=1)
TWICE_ALONE = AttemptLimits(in_company=2, alone=2)


def tried(letters: str) -> list[Tried]:
    """r is a return, a a start alone."""
    kinds: dict[str, AttemptKind] = {"r": "returned", "a": "alone"}
    return [
        Tried(attempt_id=f"{i}", kind=kinds[letter], worker=f"worker-{i}", at=NOW)
        for i, letter in enumerate(letters)
    ]


@pytest.mark.parametrize(
    ("letters", "expected"),
    [
        ("r", Again(alone=False)),
        ("rr", Again(alone=True)),
        ("rrr", Again(alone=True)),  # it only waited in a worker that something else killed
        ("rra", Again(alone=True)),  # told late: nothing has come back from the run alone
    ],
)
def test_a_step_is_asked_again_first_in_company_then_alone(letters: str, expected: Again) -> None:
    assert what_next(tried(letters), LIMITS) == expected


def test_only_a_step_that_came_back_from_a_run_alone_is_given_up() -> None:
    found = what_next(tried("rrar"), LIMITS)
    assert isinstance(found, GiveUp)
    assert "came back 3 times" in found.reason
    assert "run alone once (by worker-2)" in found.reason
    assert what_next(tried("rrar"), TWICE_ALONE) == Again(alone=True)
    assert isinstance(what_next(tried("rrarar"), TWICE_ALONE), GiveUp)


def test_a_step_that_comes_back_for_ever_is_given_up_in_the_end() -> None:
    last = MOST_ATTEMPTS - 1
    assert what_next(tried("r" * last), LIMITS) == Again(alone=True)
    assert isinstance(what_next(tried("r" * MOST_ATTEMPTS), LIMITS), GiveUp)
    assert isinstance(what_next(tried("a" * MOST_ATTEMPTS), LIMITS), GiveUp)


def test_every_way_of_dying_comes_to_an_end() -> None:
    # A poison kills at every start; it is started once between two returns.
    told, deaths = "", 0
    while True:
        deaths += 1
        told += "r"
        found = what_next(tried(told), LIMITS)
        if isinstance(found, GiveUp):
            break
        told += "a" if found.alone else ""
    assert (told, deaths) == ("rrar", 3)
