"""The table of an experiment, its plot, and the page with both. All but the writing is pure.

A point is an entry at its place. Each is compared with the first entry of the run, and where the
experiment says so with the series that stands at the same x: its control.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from colm.evaluation.experiments.catalogue import Layout, Place
from colm.evaluation.experiments.plot import plot
from colm.evaluation.report import report
from colm.evaluation.report.figures import RenderedFigure
from colm.evaluation.report.number_format import cautions, interval, number, p_value, points
from colm.evaluation.stats.analysis import clusters_of, units_of
from colm.evaluation.stats.run_data import RunData
from colm.evaluation.stats.statistics import holm
from colm.evaluation.stats.tables import (
    Clusters,
    Comparison,
    EntryRow,
    Units,
    comparisons,
    entry_row,
)


@dataclass(frozen=True, kw_only=True)
class PointRow:
    """One point: where it stands, how right it is, what it costs, and against what."""

    place: Place
    row: EntryRow
    #: Against the experiment's first point; None for that one, and where no item is common.
    gain: Comparison | None
    #: Against the control at the same x.
    beside: Comparison | None


@dataclass(frozen=True, kw_only=True)
class Table:
    """All points of an experiment that anything is done of, in the order of its plan."""

    layout: Layout
    baseline: str
    points: tuple[PointRow, ...]
    clustered: bool
    #: What else was measured at each entry, by the words of its column.
    measured: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)

    @property
    def cautions(self) -> tuple[str, ...]:
        """What the numbers cannot tell."""
        compared = [one for point in self.points for one in (point.gain, point.beside) if one]
        accuracies = [point.row.accuracy for point in self.points]
        return cautions(accuracies + [one.found.gain for one in compared])


def merged(runs: Mapping[str, RunData], name: str) -> RunData:
    """Runs of one entry each as one run with an entry for each, by the name it is to have."""
    first = next(iter(runs.values()))
    return replace(
        first,
        run=name,
        notes=tuple(dict.fromkeys(note for one in runs.values() for note in one.notes)),
        examples={key: found for one in runs.values() for key, found in one.examples.items()},
        entries=tuple(replace(one.entries[0], name=entry) for entry, one in runs.items()),
        units=tuple(replace(u, entry=entry) for entry, one in runs.items() for u in one.units),
        baselines=(next(iter(runs)),),
        planned=sum(one.planned or 0 for one in runs.values()),
    )


def table_of(
    data: RunData,
    layout: Layout,
    *,
    seed: int = 0,
    measured: Mapping[str, Mapping[str, float | None]] | None = None,
) -> Table:
    """The numbers of an experiment; the same data and seed give the same ones."""
    clusters, units = clusters_of(data), units_of(data)
    baseline = data.entries[0].name
    gains = {one.entry: one for one in comparisons(units, [baseline], clusters, seed)}
    besides = _besides(units, layout, clusters, seed)
    points = tuple(
        PointRow(
            place=layout.places[entry.name],
            row=entry_row(entry, list(units[entry.name].values()), data, clusters, seed),
            gain=gains.get(entry.name),
            beside=besides.get(entry.name),
        )
        for entry in data.entries
        if entry.name in units and entry.name in layout.places
    )
    return Table(
        layout=layout,
        baseline=baseline,
        points=points,
        clustered=clusters is not None,
        measured=measured or {},
    )


def _besides(units: Units, layout: Layout, clusters: Clusters, seed: int) -> dict[str, Comparison]:
    """Each entry against the control at its x; p corrected over all of these."""
    controls = {p.x: name for name, p in layout.places.items() if p.series == layout.against}
    found: list[Comparison] = []
    for name, place in layout.places.items():
        control = controls.get(place.x)
        if (
            control is not None
            and control in units
            and name in units
            and place.series != layout.against
        ):
            pair = {name: units[name], control: units[control]}
            found += comparisons(pair, [control], clusters, seed)
    corrected = holm([one.found.p for one in found])
    return {one.entry: replace(one, holm_p=p) for one, p in zip(found, corrected, strict=True)}


def as_json(data: RunData, table: Table) -> dict[str, Any]:
    """All numbers of the experiment as JSON has them."""
    layout = table.layout
    return {
        "run": data.run,
        "experiment": layout.name,
        "asks": layout.asks,
        "axis": layout.axis,
        "data": data.data,
        "machine": data.machine,
        "notes": list(data.notes),
        "planned": data.planned,
        "done": len(data.units),
        "baseline": table.baseline,
        "against": layout.against,
        "clustered": table.clustered,
        "cautions": list(table.cautions),
        "points": [_point(row) for row in table.points],
        "measured": report.plain(table.measured),
    }


def _point(point: PointRow) -> dict[str, Any]:
    row = point.row
    return {
        "entry": row.name,
        "series": point.place.series,
        "x": point.place.x,
        "label": point.place.label,
        "n": row.n,
        "right": row.right,
        "unparsed": row.unparsed,
        "failed": row.failed,
        "accuracy": report.plain(row.accuracy),
        "difference": report.plain(point.gain),
        "difference_from_control": report.plain(point.beside),
        "median_seconds": row.seconds,
        "p95_seconds": row.slow_seconds,
        "tokens": row.tokens_each,
        "prompt_tokens": row.cost.prompt_tokens,
        "completion_tokens": row.cost.completion_tokens,
        "calls": row.cost.calls,
    }


def cells(table: Table) -> tuple[list[str], list[list[str]]]:
    """The table as text, for the page and for the terminal: its head, and its rows."""
    controlled = any(point.beside for point in table.points)
    head = ["point", "series", "n", "accuracy", "unparsed", "failed", f"against {table.baseline}"]
    head += ["p"] + ([f"against {table.layout.against}", "p"] if controlled else [])
    head += ["median s", "95th s", "tokens"]
    more = list(dict.fromkeys(words for found in table.measured.values() for words in found))
    rows = []
    for point in table.points:
        found = table.measured.get(point.row.name, {})
        rows.append(_cells(point, controlled=controlled) + [number(found.get(w)) for w in more])
    return head + more, rows


def _cells(point: PointRow, *, controlled: bool) -> list[str]:
    row = point.row
    compared: Sequence[Comparison | None] = (point.gain, point.beside)[: 2 if controlled else 1]
    return [
        row.name,
        point.place.series,
        str(row.n),
        interval(row.accuracy),
        str(row.unparsed),
        str(row.failed),
        *(text for one in compared for text in _difference(one)),
        number(row.seconds),
        number(row.slow_seconds),
        number(row.tokens_each),
    ]


def _difference(one: Comparison | None) -> tuple[str, str]:
    return (points(one.found.gain), p_value(one.holm_p)) if one else ("", "")


def render(data: RunData, table: Table, picture: RenderedFigure) -> str:
    """The page: one file, without script or network."""
    head, rows = cells(table)
    return report.page(
        Path(__file__).parent,
        "experiment.html",
        data=data,
        table=table,
        head=head,
        rows=rows,
        picture=picture,
        source=report.source(picture),
    )


def write(data: RunData, table: Table, folder: Path) -> Mapping[str, Path]:
    """Write experiment.html, .json and .png into `folder`, which is made; where each lies."""
    picture = plot(table.layout, [(point.place, point.row) for point in table.points])
    folder.mkdir(parents=True, exist_ok=True)
    files = {kind: folder / f"experiment.{kind}" for kind in ("html", "json", "png")}
    files["html"].write_text(render(data, table, picture), encoding="utf-8")
    told = json.dumps(as_json(data, table), indent=1, ensure_ascii=False) + "\n"
    files["json"].write_text(told, encoding="utf-8")
    files["png"].write_bytes(picture.png)
    return files
