"""An experiment's table says what its run says; the plot has every series."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from colm.evaluation.experiments.catalogue import Layout, PlotPosition
from colm.evaluation.experiments.report import Table, as_json, cells, table_of, write
from colm.evaluation.stats.run_data import EntryData, RunData, UnitData
from colm.evaluation.stats.statistics import wilson
from colm.models.messages import Spent

N = 20
#: How many of the N examples each entry has right, always the first ones.
RIGHT = {"colm-1": 8, "control-1": 6, "colm-2": 15, "control-2": 7, "alone": 4}
LAYOUT = Layout(
    name="number-of-clients",
    asks="What does <each> client add?",
    axis="clients",
    against="control",
    places={
        "colm-1": PlotPosition(series="colm", x=1),
        "control-1": PlotPosition(series="control", x=1),
        "colm-2": PlotPosition(series="colm", x=2),
        "control-2": PlotPosition(series="control", x=2),
        "alone": PlotPosition(series="alone", x=None),
    },
)


def unit(entry: str, number: int) -> UnitData:
    spent = Spent(
        participant="ada", role="client", act="draft", calls=1, prompt=30, completion=10 + number
    )
    right = number < RIGHT[entry]
    return UnitData(
        entry=entry,
        example=f"e{number:02d}",
        seed=0,
        status="graded",
        correct=right,
        seconds=float(number + 1),
        ledger=(spent,),
    )


@pytest.fixture(scope="module")
def run() -> RunData:
    return RunData(
        run="night",
        notes=("Simulated & small.",),
        examples={},
        entries=tuple(EntryData(name=name, strategy="colm") for name in RIGHT),
        units=tuple(unit(name, number) for name in RIGHT for number in range(N)),
    )


@pytest.fixture(scope="module")
def table(run: RunData) -> Table:
    return table_of(run, LAYOUT)


def test_each_point_has_its_accuracy_with_wilsons_interval(table: Table) -> None:
    assert [point.row.name for point in table.points] == list(RIGHT)
    for point in table.points:
        found = wilson(RIGHT[point.row.name], N)
        assert found is not None
        assert point.row.accuracy is not None
        assert point.row.n == N
        assert (point.row.accuracy.low, point.row.accuracy.high) == (found.low, found.high)


def test_each_is_compared_with_the_first_point_on_the_same_items(table: Table) -> None:
    gains = {point.row.name: point.gain for point in table.points}

    assert table.baseline == "colm-1"
    assert gains["colm-1"] is None
    second = gains["colm-2"]
    assert second is not None
    assert second.paired.gain.value == pytest.approx((15 - 8) / N)
    # Seven items won and none lost: McNemar's exact p is 2 / 2 ** 7.
    assert second.paired.p == pytest.approx(2 / 2**7)
    assert second.holm_p == pytest.approx(4 * 2 / 2**7)  # the smallest of four


def test_each_is_compared_with_the_control_at_its_own_place(table: Table) -> None:
    besides = {point.row.name: point.beside for point in table.points if point.beside}

    assert {name: one.baseline for name, one in besides.items()} == {
        "colm-1": "control-1", "colm-2": "control-2",
    }  # fmt: skip
    assert besides["colm-2"].paired.gain.value == pytest.approx((15 - 7) / N)
    # Eight items won and none lost, of two comparisons.
    assert besides["colm-2"].holm_p == pytest.approx(2 * 2 / 2**8)


def test_seconds_and_tokens_are_those_of_a_query(run: RunData, table: Table) -> None:
    told = {point["entry"]: point for point in as_json(run, table)["points"]}
    one = told["colm-2"]

    assert one["median_seconds"] == 10.5
    assert one["p95_seconds"] == 20.0
    assert one["tokens"] == 30 + 10 + 9.5
    assert (one["series"], one["x"], one["n"], one["right"]) == ("colm", 2, N, 15)
    assert told["alone"]["x"] is None
    assert told["alone"]["difference"]["paired"]["gain"]["value"] == pytest.approx(-0.2)


def test_the_columns_of_a_control_are_there_only_with_one(run: RunData, table: Table) -> None:
    head, rows = cells(table)
    assert head[6:10] == ["against colm-1", "p", "against control", "p"]
    assert all(len(row) == len(head) for row in rows)
    assert rows[2][8].startswith("+40.0 (")

    head, rows = cells(table_of(run, replace(LAYOUT, against="")))
    assert "against control" not in head
    assert all(len(row) == len(head) for row in rows)


def test_a_run_that_is_not_far_has_the_points_that_are_begun(run: RunData) -> None:
    begun = [u for u in run.units if u.entry == "colm-2"] + [unit("control-2", 0)]
    table = table_of(replace(run, units=tuple(begun)), LAYOUT)

    assert [(point.row.name, point.row.n) for point in table.points] == [
        ("colm-2", N), ("control-2", 1),
    ]  # fmt: skip
    assert all(point.gain is None for point in table.points)


@pytest.mark.parametrize("axis", ["clients", ""])
def test_the_files_say_the_same_and_need_nothing_else(
    run: RunData, axis: str, tmp_path: Path
) -> None:
    layout = replace(LAYOUT, axis=axis)
    table = table_of(run, layout)
    files = write(run, table, tmp_path / "deep")
    html = files["html"].read_text(encoding="utf-8")

    assert json.loads(files["json"].read_text(encoding="utf-8")) == json.loads(
        json.dumps(as_json(run, table))
    )
    assert files["png"].read_bytes().startswith(b"\x89PNG")
    assert "What does &lt;each&gt; client add?" in html
    assert "Simulated &amp; small." in html
    assert not re.search(r"<script|<link|(?:src|href)=\"(?!data:image/svg\+xml;base64,)", html)
    _, rows = cells(table)
    for row in rows:
        assert f'<th scope="row">{row[0]}</th><td class="text">{row[1]}</td>' in html
        assert f"<td>{row[3]}</td>" in html
    again = write(run, table, tmp_path / "again")
    assert again["html"].read_bytes() == files["html"].read_bytes()


def test_an_experiment_of_few_questions_says_so(run: RunData, tmp_path: Path) -> None:
    few = replace(run, units=tuple(u for u in run.units if u.example in ("e00", "e05", "e10")))
    seeded = replace(
        few, units=tuple(replace(u, seed=seed) for u in few.units for seed in range(5))
    )
    table = table_of(seeded, LAYOUT)
    html = write(seeded, table, tmp_path)["html"].read_text(encoding="utf-8")

    (caution,) = table.cautions
    assert caution in html[html.index("<header>") : html.index("</header>")]
    assert as_json(seeded, table)["cautions"] == [caution]
    _, rows = cells(table)
    for row in rows:
        assert "; 3 clusters, too few to say)" in row[3]
    assert rows[2][6] == "+33.3 (-100.0 to +100.0; 3 clusters, too few to say)"
    assert rows[2][7] == "1.000"
    assert table_of(run, LAYOUT).cautions == ()
