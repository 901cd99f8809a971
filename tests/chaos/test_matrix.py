"""The result of an injection: its problems, its line of figures; the stages of the faults."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.chaos.campaign import cases
from tests.chaos.faults import FAULTS
from tests.chaos.matrix import Row
from tests.chaos.record import Wrong
from tests.chaos.stages import STAGES
from tests.chaos.test_faults import SELECTION

SOUND = Wrong(
    lost=(), ended_twice=(), decided_twice=(), asked_twice=(), gaps=(), open_steps=(),
    mixed_up=(), dead_letters=(),
)  # fmt: skip
ROW = Row(
    fault="kill the broker",
    stage="drafting",
    seen="port 1 closed",
    accepted=240,
    in_flight=231,
    wrong=SOUND,
    unresolved=(),
    statuses={"answered": 240},
    late=0,
    generations_again=4,
    tokens_again=50,
    tokens_once=1000,
    down_s=5.0,
    recover_s=1.5,
    ended_s=30.0,
    degrades=False,
)


def test_a_row_with_every_promise_kept_has_no_problems() -> None:
    assert ROW.problems == {}


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (replace(ROW, wrong=replace(SOUND, lost=["a"])), "lost"),
        (replace(ROW, wrong=replace(SOUND, gaps=["a"])), "gaps"),
        (replace(ROW, wrong=replace(SOUND, dead_letters=["a: b"])), "dead_letters"),
        (replace(ROW, unresolved=["a"]), "unresolved"),
        (replace(ROW, statuses={"answered": 239, "answered, degraded": 1}), "statuses"),
    ],
)
def test_a_broken_promise_is_a_problem(row: Row, problem: str) -> None:
    assert list(row.problems) == [problem]


def test_where_the_fault_degrades_queries_a_participant_may_be_missing() -> None:
    row = replace(ROW, degrades=True, statuses={"answered, degraded": 240})
    assert row.problems == {}


def test_a_line_has_the_losses_repeats_and_times_of_an_injection() -> None:
    assert replace(ROW, wrong=replace(SOUND, lost=["a"], gaps=["a"]), late=3).line == (
        "kill the broker (drafting): 231 in flight, 1 lost, 0 recorded twice, 3 late,"
        " 50 tokens again (5.0%), down 5.0 s, recovered after 1.5 s"
    )


def test_every_fault_has_stages_that_exist() -> None:
    assert [f.name for f in FAULTS.values() if not f.stages or set(f.stages) - set(STAGES)] == []
    assert {fault.name for fault, _ in cases()} == set(FAULTS)


def test_the_selection_of_test_all_names_faults_and_stages_that_exist() -> None:
    assert {(fault.name, stage) for fault, stage in cases()} > SELECTION
