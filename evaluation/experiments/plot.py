"""Plot of an experiment: accuracy and seconds against its axis, one line a series."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from colm.evaluation.experiments.catalogue import Layout, PlotPosition
from colm.evaluation.report.figures import COLOURS, MARKERS, RenderedFigure, error_bar, render
from colm.evaluation.stats.tables import EntryRow

#: A position and its measurements.
Measured = tuple[PlotPosition, EntryRow]
#: Horizontal distance between series at one x.
APART: Final = 0.06
#: Labels with more characters are rotated.
LONG: Final = 8


def plot(layout: Layout, points: Sequence[Measured]) -> RenderedFigure:
    """Accuracy with intervals above; median and 95th percentile of seconds below."""
    names = list(dict.fromkeys(place.series for place, _ in points))

    def draw(figure: Figure) -> None:
        above, below = figure.subplots(2, 1, sharex=True)
        placed = [n for n in names if any(p.series == n and p.x is not None for p, _ in points)]
        for number, name in enumerate(names):
            of = [point for point in points if point[0].series == name]
            style = {"color": COLOURS[number % 8], "marker": MARKERS[number % 8]}
            shift = APART * (placed.index(name) - (len(placed) - 1) / 2) if name in placed else 0.0
            _draw(above, below, layout, of, style, shift if layout.axis else 0.0)
        above.set(ylabel="accuracy", ylim=(-0.03, 1.03))
        below.set(ylabel="seconds", xlabel=layout.axis or "point")
        below.set_ylim(bottom=0)
        _ticks(below, points)
        above.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)

    words = (
        f"Accuracy (95 % intervals) and seconds a query (the median; dotted: what one in "
        f"twenty exceeds) against {layout.axis or 'the points'}, for: {', '.join(names)}."
    )
    return render("experiment", layout.asks, words, (7.2, 5.6), draw)


def _draw(
    above: Axes,
    below: Axes,
    layout: Layout,
    points: Sequence[Measured],
    style: dict[str, Any],
    shift: float,
) -> None:
    """Draw one series on both panels."""
    for place, row in points:
        if place.x is None and row.accuracy is not None:
            level: dict[str, Any] = {"color": style["color"], "linestyle": "--", "linewidth": 1}
            above.axhline(row.accuracy.value, label=place.series, **level)
            below.axhline(row.seconds, **level)
    placed = sorted(
        ((place.x + shift, row) for place, row in points if place.x is not None),
        key=lambda pair: pair[0],
    )
    if not placed:
        return
    line = "-" if layout.axis else "none"
    with_accuracy = [(x, row.accuracy) for x, row in placed if row.accuracy is not None]
    arms = [error_bar(estimate) for _, estimate in with_accuracy]
    above.errorbar(
        [x for x, _ in with_accuracy], [estimate.value for _, estimate in with_accuracy],
        yerr=[[low for (low,), _ in arms], [high for _, (high,) in arms]],
        capsize=3, linestyle=line, label=points[0][0].series, **style,
    )  # fmt: skip
    xs = [x for x, _ in placed]
    below.plot(xs, [row.seconds for _, row in placed], linestyle=line, **style)
    slow = [row.slow_seconds for _, row in placed]
    dotted = ":" if layout.axis else "none"
    below.plot(xs, slow, linestyle=dotted, fillstyle="none", **style)


def _ticks(axes: Axes, points: Sequence[Measured]) -> None:
    """Ticks at the points, with their labels or numbers."""
    labels = {p.x: p.label or f"{p.x:g}" for p, _ in points if p.x is not None}
    rotated = any(len(label) > LONG for label in labels.values())
    places = sorted(labels)
    axes.set_xticks(places, [labels[x] for x in places])
    if rotated:
        axes.tick_params(axis="x", labelrotation=30)
