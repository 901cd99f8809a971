"""What the reliability program makes of its rows: the table, the problems, the choice of faults."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rich.console import Console

from tests.chaos import report
from tests.chaos.campaign import Broken, cases
from tests.chaos.faults import FAULTS
from tests.chaos.matrix import Row
from tests.chaos.record import Wrong
from tests.chaos.stages import STAGES

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
    assert report.problems([ROW]) == []


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (replace(ROW, wrong=replace(SOUND, lost=["a"])), "lost"),
        (replace(ROW, wrong=replace(SOUND, gaps=["a"])), "gaps"),
        (replace(ROW, wrong=replace(SOUND, dead_letters=["a: b"])), "dead_letters"),
        (replace(ROW, unresolved=["a"]), "unresolved"),
        (replace(ROW, statuses={"answered": 239, "answered, degraded": 1}), "degraded"),
        (Broken(fault="f", stage="s", error="it did not happen"), "it did not happen"),
    ],
)
def test_a_broken_promise_and_a_fault_that_did_not_happen_are_problems(
    row: Row | Broken, told: str
) -> None:
    (problem,) = report.problems([ROW, row])
    assert told in problem


def test_where_the_fault_degrades_queries_may_go_on_without_somebody() -> None:
    row = replace(ROW, degrades=True, statuses={"answered, degraded": 240})
    assert row.problems == {}


def test_the_table_adds_the_injections_of_a_fault_and_keeps_its_worst_times() -> None:
    other = replace(ROW, stage="refining", in_flight=201, tokens_again=100, recover_s=2.5)
    console = Console(width=140)
    with console.capture() as captured:
        console.print(report.table([ROW, other], {"a clock": "no library"}))
    shown = captured.get()
    (line,) = [line for line in shown.splitlines() if "kill the broker" in line]
    assert [cell.strip() for cell in line.strip("│").split("│")] == [
        "kill the broker", "2", "201", "0", "0", "0", "150 (7.5%)", "5.0", "2.5",
    ]  # fmt: skip
    assert "a clock: not here, no library" in shown


def test_faults_are_chosen_by_parts_of_their_names() -> None:
    assert {fault.name for fault, _ in cases(["the broker"])} == {
        name for name in FAULTS if "the broker" in name
    }
    with pytest.raises(LookupError, match="no fault is called 'meteor'"):
        cases(["meteor"])


def test_every_fault_has_stages_that_exist() -> None:
    assert [f.name for f in FAULTS.values() if not f.stages or set(f.stages) - set(STAGES)] == []
    assert {fault.name for fault, _ in cases()} == set(FAULTS)
