"""Report of an experiment: table, plot, page.

Each entry is compared with the first of the run, and with a control at the same x.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from colm.evaluation.experiments.catalogue import Layout, PlotPosition
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
    """One entry: position, accuracy, cost, comparisons."""

    place: PlotPosition
    row: EntryRow
    #: Against the first entry; None for itself, and without common items.
    gain: Comparison | None
    #: Against the control at the same x.
    beside: Comparison | None


@dataclass(frozen=True, kw_only=True)
class Table:
    """The entries of an experiment with completed units, in the order of its plan."""

    layout: Layout
    baseline: str
    points: tuple[PointRow, ...]
    clustered: bool
    #: Entry -> column -> another measurement.
    measured: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)

    @property
    def cautions(self) -> tuple[str, ...]:
        """Warnings about too few clusters."""
        compared = [row for point in self.points for row in (point.gain, point.beside) if row]
        accuracies = [point.row.accuracy for point in self.points]
        return cautions(accuracies + [row.paired.gain for row in compared])


def merged(runs: Mapping[str, RunData], name: str) -> RunData:
    """Runs with one entry each, merged into one run; keys become the entries' names."""
    first = next(iter(runs.values()))
    return replace(
        first,
        run=name,
        notes=tuple(dict.fromkeys(note for run in runs.values() for note in run.notes)),
        examples={key: example for run in runs.values() for key, example in run.examples.items()},
        entries=tuple(replace(run.entries[0], name=entry) for entry, run in runs.items()),
        units=tuple(replace(u, entry=entry) for entry, run in runs.items() for u in run.units),
        baselines=(next(iter(runs)),),
        planned=sum(run.planned or 0 for run in runs.values()),
    )


def table_of(
    data: RunData,
    layout: Layout,
    *,
    seed: int = 0,
    measured: Mapping[str, Mapping[str, float | None]] | None = None,
) -> Table:
    """The numbers of an experiment; equal data and seed give equal numbers."""
    clusters, units = clusters_of(data), units_of(data)
    baseline = data.entries[0].name
    gains = {row.entry: row for row in comparisons(units, [baseline], clusters, seed)}
    besides = _besides(units, layout, clusters, seed)
    points = tuple(
        PointRow(
            place=layout.places[entry.name],
            row=entry_row(entry, list(units[entry.name].values()), data, clusters),
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
    """Each entry against the control at its x; p is corrected over all of them."""
    controls = {p.x: name for name, p in layout.places.items() if p.series == layout.against}
    rows: list[Comparison] = []
    for name, place in layout.places.items():
        control = controls.get(place.x)
        if (
            control is not None
            and control in units
            and name in units
            and place.series != layout.against
        ):
            pair = {name: units[name], control: units[control]}
            rows += comparisons(pair, [control], clusters, seed)
    corrected = holm([row.paired.p for row in rows])
    return {row.entry: replace(row, holm_p=p) for row, p in zip(rows, corrected, strict=True)}


def as_json(data: RunData, table: Table) -> dict[str, Any]:
    """All numbers of the experiment as JSON types."""
    layout = table.layout
    return report.summary(data) | {
        "experiment": layout.name,
        "asks": layout.asks,
        "axis": layout.axis,
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
    """Header and rows of the table as text."""
    controlled = any(point.beside for point in table.points)
    head = ["point", "series", "n", "accuracy", "unparsed", "failed", f"against {table.baseline}"]
    head += ["p"] + ([f"against {table.layout.against}", "p"] if controlled else [])
    head += ["median s", "95th s", "tokens"]
    more = list(dict.fromkeys(words for values in table.measured.values() for words in values))
    rows = []
    for point in table.points:
        values = table.measured.get(point.row.name, {})
        rows.append(_cells(point, controlled=controlled) + [number(values.get(w)) for w in more])
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
        *(text for against in compared for text in _difference(against)),
        number(row.seconds),
        number(row.slow_seconds),
        number(row.tokens_each),
    ]


def _difference(row: Comparison | None) -> tuple[str, str]:
    return (points(row.paired.gain), p_value(row.holm_p)) if row else ("", "")


def render(data: RunData, table: Table, figure: RenderedFigure) -> str:
    """The page as self-contained HTML."""
    head, rows = cells(table)
    return report.page(
        Path(__file__).parent,
        "experiment.html",
        data=data,
        table=table,
        head=head,
        rows=rows,
        figure=figure,
        source=report.source(figure),
    )


def write(data: RunData, table: Table, folder: Path) -> Mapping[str, Path]:
    """Write experiment.html, .json and .png into `folder`, which is created; returns the paths."""
    figure = plot(table.layout, [(point.place, point.row) for point in table.points])
    folder.mkdir(parents=True, exist_ok=True)
    files = {kind: folder / f"experiment.{kind}" for kind in ("html", "json", "png")}
    files["html"].write_text(render(data, table, figure), encoding="utf-8")
    document = json.dumps(as_json(data, table), indent=1, ensure_ascii=False) + "\n"
    files["json"].write_text(document, encoding="utf-8")
    files["png"].write_bytes(figure.png)
    return files
