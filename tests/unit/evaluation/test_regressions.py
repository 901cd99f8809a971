"""Of what was lost the report shows first what says most, in an order that says how it came."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from colm.evaluation.report.report import write
from colm.evaluation.stats.analysis import analyse
from colm.evaluation.stats.run_data import ClientTexts, EntryData, ExampleData, RunData, UnitData
from tests.unit.evaluation_runs import simulated

NAMES = ("base", "one", "two", "three")


def a_unit(entry: str, example: str, right: bool | None, **more: object) -> UnitData:
    """None is a unit that failed."""
    unit = UnitData(
        entry=entry,
        example=example,
        seed=0,
        status="failed" if right is None else "graded",
        correct=right,
        seconds=1.0,
        text=None if right is None else f"{entry} of {example}",
    )
    return replace(unit, **more)  # type: ignore[arg-type]  # fields of a unit


def a_run(*units: UnitData) -> RunData:
    return RunData(
        run="r",
        examples={unit.example: ExampleData(question="?") for unit in units},
        entries=tuple(EntryData(name=name, strategy="colm") for name in NAMES),
        units=units,
    )


def test_what_most_entries_lose_comes_first_and_what_has_no_answer_last() -> None:
    #         one    two    three: whether each is right where the baseline is.
    rights = {
        "a": (False, True, True),
        "b": (False, False, False),
        "c": (None, False, False),
        "d": (False, False, True),
        "e": (False, True, False),
        "f": (True, False, False),
    }
    units = [a_unit("base", example, True) for example in rights]
    for example, row in rights.items():
        units += [a_unit(name, example, r) for name, r in zip(NAMES[1:], row, strict=True)]
    found = analyse(a_run(*units, a_unit("one", "g", False))).regressions

    mine = [row for row in found if row.entry == "one"]
    assert [(row.example, row.times, row.of) for row in mine] == [
        ("b", 3, 3), ("d", 2, 3), ("e", 2, 3), ("a", 1, 3), ("c", 3, 3),
    ]  # fmt: skip
    assert (mine[0].before, mine[-1].after) == ("base of b", "(failed)")


def test_losses_are_counted_over_seeds() -> None:
    units = [a_unit("base", e, True, seed=s) for e in "ab" for s in (0, 1)]
    units += [a_unit("one", "a", False), a_unit("one", "a", True, seed=1)]
    units += [a_unit("one", "b", False, seed=s) for s in (0, 1)]

    found = analyse(a_run(*units)).regressions

    assert [(row.example, row.seed, row.times, row.of) for row in found] == [
        ("b", 0, 2, 2), ("b", 1, 2, 2), ("a", 0, 1, 2),
    ]  # fmt: skip


def test_drafts_of_the_client_that_knew_best_come_first() -> None:
    def texts(draft: bool) -> ClientTexts:
        return ClientTexts(draft=draft, refined=False, draft_text="first", refined_text="then")

    def unit(example: str, seed: int, ada: bool, bo: bool) -> UnitData:
        clients = {"ada": texts(ada), "bo": texts(bo)}
        return a_unit("one", example, False, seed=seed, clients=clients)

    run = a_run(
        unit("x", 0, ada=True, bo=True),
        unit("x", 1, ada=False, bo=True),
        unit("y", 0, ada=True, bo=False),
    )

    assert [(r.example, r.baseline, r.seed, r.times, r.of) for r in analyse(run).spoiled] == [
        ("x", "bo", 0, 2, 2), ("x", "bo", 1, 2, 2), ("y", "ada", 0, 1, 1), ("x", "ada", 0, 1, 2),
    ]  # fmt: skip


@pytest.mark.parametrize("seed", [1, 2])
def test_the_order_does_not_depend_on_which_unit_was_done_first(seed: int) -> None:
    run = simulated(n=20, seeds=2)
    units = list(run.units)
    random.Random(seed).shuffle(units)
    one, other = analyse(run), analyse(replace(run, units=tuple(units)))

    assert one.regressions == other.regressions
    assert one.spoiled == other.spoiled


def test_the_report_says_what_it_ranks_by(tmp_path: Path) -> None:
    units = [a_unit(name, "a", name == "base") for name in NAMES]
    page = write(a_run(*units), tmp_path).html.read_text(encoding="utf-8")

    assert "first those that most entries lose" in page
    assert page.count("<p>Lost 3 of 3 times.</p>") == 3
