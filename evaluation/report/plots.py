"""Figures of a report. Each shows the values of a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from colm.evaluation.report.cope_thresholds_plot import thresholds_figure
from colm.evaluation.report.figures import (
    BLUE,
    COLOURS,
    GREEN,
    GREY,
    MARKERS,
    RED,
    RenderedFigure,
    error_bar,
    render,
)
from colm.evaluation.stats.analysis import Analysis
from colm.evaluation.stats.run_data import RunData
from colm.evaluation.stats.tables import ClientRow, EntryRow


def render_figures(data: RunData, analysis: Analysis) -> list[RenderedFigure]:
    """The figures that the run has data for."""
    rendered = [_front(analysis, *axis) for axis in _axes_of_cost(analysis)]
    rendered.append(_latency(data, analysis))
    if analysis.clients:
        rendered += [_recovery(analysis.clients), _flow(analysis.clients)]
    rendered += [
        thresholds_figure(entry, points)
        for entry, points in data.threshold_sweeps.items()
        if points
    ]
    return rendered


def _single_axes(
    name: str, title: str, words: str, size: tuple[float, float], draw: Callable[[Axes], None]
) -> RenderedFigure:
    """A figure with one set of axes, which `draw` fills."""
    return render(name, title, words, size, lambda figure: draw(figure.add_subplot()))


def _axes_of_cost(analysis: Analysis) -> list[tuple[str, str]]:
    axes = [("tokens", "tokens a query"), ("seconds", "median seconds a query")]
    if any(row.cost.dollars for row in analysis.entries):
        axes.append(("dollars", "dollars for 1,000 queries"))
    return axes


def _front(analysis: Analysis, cost: str, label: str) -> RenderedFigure:
    on_front = analysis.front[cost]

    def draw(axes: Axes) -> None:
        for place, row in enumerate(analysis.entries):
            x, estimate = _cost(row, cost), row.accuracy
            if estimate is not None:
                axes.errorbar(
                    x, estimate.value, yerr=error_bar(estimate), **look(place),
                    capsize=3, markersize=7, label=row.name,
                )  # fmt: skip
        line = [(_cost(r, cost), r.right / r.n) for n in on_front for r in _named(analysis, n)]
        axes.plot(*zip(*line, strict=True), color=GREY, linestyle="--", zorder=0)
        axes.set(xlabel=label, ylabel="accuracy", ylim=(-0.03, 1.03))
        axes.set_xlim(left=-0.03 * axes.get_xlim()[1])
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)

    words = f"Accuracy against {label}. Nothing beats both of: {', '.join(on_front)}."
    return _single_axes(f"front-{cost}", f"Accuracy against {label}", words, (7.2, 3.6), draw)


def look(place: int) -> dict[str, Any]:
    """Colour and marker of an entry, unique among 64."""
    return {"color": COLOURS[place % 8], "fmt": MARKERS[(place + place // 8) % 8]}


def _recovery(rows: Sequence[ClientRow]) -> RenderedFigure:
    """Recovery and regression of each client and of the control."""
    bars = [
        (f"{row.entry}: {row.client}", row.change, row.controlled and row.controlled.control)
        for row in rows
    ]

    def draw(axes: Axes) -> None:
        for place, (_, change, control) in enumerate(bars):
            for offset, estimate, colour, hatch in (
                (-0.3, change.recovery, GREEN, ""),
                (-0.1, control.recovery if control else None, GREEN, "///"),
                (0.1, change.regression, RED, ""),
                (0.3, control.regression if control else None, RED, "///"),
            ):
                if estimate is not None:
                    axes.barh(
                        place + offset, estimate.value, 0.19, xerr=error_bar(estimate), capsize=2,
                        color=colour if not hatch else "white", edgecolor=colour, hatch=hatch,
                    )  # fmt: skip
        axes.set_yticks(range(len(bars)), [name for name, _, _ in bars])
        axes.invert_yaxis()
        axes.set(xlabel="share", xlim=(0, 1))
        _keys(axes, {"recovery": (GREEN, ""), "by the control": (GREEN, "///"),
                     "regression": (RED, ""), "by the control ": (RED, "///")})  # fmt: skip

    words = "Recovery and regression of each client, and of the control that asks again unguided."
    size = (7.2, 1.4 + 0.62 * len(bars))
    return _single_axes("recovery", "Recovery and regression", words, size, draw)


def _flow(rows: Sequence[ClientRow]) -> RenderedFigure:
    """Changes from draft to refined answer, as shares of each client's items."""
    kinds = (
        ("right, stayed right", BLUE, ""),
        ("wrong, now right", GREEN, ""),
        ("right, now wrong", RED, "xxx"),
        ("wrong, stayed wrong", "#DDDDDD", ""),
    )

    def draw(axes: Axes) -> None:
        for place, row in enumerate(rows):
            counts = (
                row.change.stayed_right, row.change.recovered,
                row.change.spoiled, row.change.still_wrong,
            )  # fmt: skip
            left = 0.0
            for count, (_, colour, hatch) in zip(counts, kinds, strict=True):
                share = count / row.change.n
                axes.barh(place, share, 0.7, left=left, color=colour, hatch=hatch,
                          edgecolor="white")  # fmt: skip
                if share > 0.03:
                    ink = "white" if colour in (BLUE, GREEN, RED) else "black"
                    box = {"facecolor": colour, "edgecolor": "none", "pad": 1}
                    middle = left + share / 2
                    axes.text(middle, place, str(count), ha="center", va="center", color=ink,
                              bbox=box)  # fmt: skip
                left += share
        axes.set_yticks(range(len(rows)), [f"{row.entry}: {row.client}" for row in rows])
        axes.invert_yaxis()
        axes.set(xlabel="share of its items", xlim=(0, 1))
        _keys(axes, {name: (colour, hatch) for name, colour, hatch in kinds})

    words = "Each client's drafts and refined answers: how many stayed right, and so on."
    size = (7.2, 1.4 + 0.36 * len(rows))
    return _single_axes("flow", "From draft to refined answer", words, size, draw)


def _latency(data: RunData, analysis: Analysis) -> RenderedFigure:
    """Cumulative distribution of the seconds from question to answer."""

    def draw(axes: Axes) -> None:
        for place, row in enumerate(analysis.entries):
            seconds = sorted(u.seconds for u in data.units if u.entry == row.name)
            shares = [(n + 1) / len(seconds) for n in range(len(seconds))]
            axes.step([0.0, *seconds], [0.0, *shares], where="post", color=COLOURS[place % 8],
                      linestyle=("-", "--", ":", "-.")[place // 8 % 4], label=row.name)  # fmt: skip
        axes.set(xlabel="seconds from ask to answer", ylabel="share answered", ylim=(0, 1.02))
        axes.set_xlim(left=0)
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)

    words = "How long queries took: the share of each entry's queries that had ended by a time."
    return _single_axes("latency", "How long queries took", words, (7.2, 3.2), draw)


def _keys(axes: Axes, kinds: Mapping[str, tuple[str, str]]) -> None:
    for name, (colour, hatch) in kinds.items():
        face = "white" if hatch == "///" else colour
        axes.barh([0], [0], color=face, edgecolor=colour, hatch=hatch, label=name)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4, frameon=False)


def _cost(row: EntryRow, cost: str) -> float:
    return {"tokens": row.tokens_each, "seconds": row.seconds, "dollars": 1000 * row.dollars_each}[
        cost
    ]


def _named(analysis: Analysis, name: str) -> list[EntryRow]:
    return [row for row in analysis.entries if row.name == name]
