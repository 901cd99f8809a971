"""What becomes of a step that may have killed its worker."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from colm.models.redelivery import (
    MAX_ATTEMPTS,
    AttemptKind,
    AttemptLimits,
    Fail,
    Redelivery,
    Retry,
    decide_redelivery,
)

NOW = datetime(2026, 3, 1, tzinfo=UTC)
LIMITS = AttemptLimits(in_company=2, alone=1)
TWICE_ALONE = AttemptLimits(in_company=2, alone=2)


def tried(letters: str) -> list[Redelivery]:
    """r is a return, a a start alone."""
    kinds: dict[str, AttemptKind] = {"r": "returned", "a": "alone"}
    return [
        Redelivery(attempt_id=f"{i}", kind=kinds[letter], worker=f"worker-{i}", at=NOW)
        for i, letter in enumerate(letters)
    ]


@pytest.mark.parametrize(
    ("letters", "expected"),
    [
        ("r", Retry(isolated=False)),
        ("rr", Retry(isolated=True)),
        ("rrr", Retry(isolated=True)),  # it only waited in a worker that something else killed
        ("rra", Retry(isolated=True)),  # told late: nothing has come back from the run alone
    ],
)
def test_a_step_is_asked_again_first_in_company_then_alone(letters: str, expected: Retry) -> None:
    assert decide_redelivery(tried(letters), LIMITS) == expected


def test_only_a_step_that_came_back_from_a_run_alone_is_given_up() -> None:
    found = decide_redelivery(tried("rrar"), LIMITS)
    assert isinstance(found, Fail)
    assert "was redelivered 3 times" in found.reason
    assert "run alone once (by worker-2)" in found.reason
    assert decide_redelivery(tried("rrar"), TWICE_ALONE) == Retry(isolated=True)
    assert isinstance(decide_redelivery(tried("rrarar"), TWICE_ALONE), Fail)


def test_a_step_that_comes_back_for_ever_is_given_up_in_the_end() -> None:
    last = MAX_ATTEMPTS - 1
    assert decide_redelivery(tried("r" * last), LIMITS) == Retry(isolated=True)
    assert isinstance(decide_redelivery(tried("r" * MAX_ATTEMPTS), LIMITS), Fail)
    assert isinstance(decide_redelivery(tried("a" * MAX_ATTEMPTS), LIMITS), Fail)


def test_every_way_of_dying_comes_to_an_end() -> None:
    # A poison kills at every start; it is started once between two returns.
    told, deaths = "", 0
    while True:
        deaths += 1
        told += "r"
        found = decide_redelivery(tried(told), LIMITS)
        if isinstance(found, Fail):
            break
        told += "a" if found.isolated else ""
    assert (told, deaths) == ("rrar", 3)
