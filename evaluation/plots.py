"""The figures of a report, as SVG and PNG. Every one shows what a table of the report says too.

Drawn without pyplot, so that any thread may do it, and the same data gives the same bytes. Colours
are told apart by colour-blind eyes (Okabe and Ito, 2008), and bars by hatches as well.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from evaluation.analysis import Analysis
from evaluation.run_data import RunData
from evaluation.statistics import Estimate
from evaluation.surface import Point
from evaluation.tables import ClientRow, EntryRow

BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#999999"
COLOURS: Final = (BLUE, ORANGE, GREEN, RED, "#CC79A7", "#56B4E9", "#F0E442", "#000000")
MARKERS: Final = "osD^vPX*"
#: Of every figure.
STYLE: Final[dict[Any, Any]] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.hashsalt": "colm",
    "hatch.linewidth": 0.6,
}
#: Of PNGs (dots an inch).
DPI: Final = 144


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One figure: `name` for its file, `words` for who cannot see it."""

    name: str
    title: str
    words: str
    svg: bytes
    png: bytes


def pictures(data: RunData, found: Analysis) -> list[Picture]:
    """Every figure that the run has data for."""
    made = [_front(found, *axis) for axis in _axes_of_cost(found)]
    made.append(_latency(data, found))
    if found.clients:
        made += [_recovery(found.clients), _flow(found.clients)]
    made += [_surface(entry, points) for entry, points in data.surfaces.items() if points]
    return made


def picture_of(name: str, title: str, words: str, figure: Figure) -> Picture:
    svg, png = io.BytesIO(), io.BytesIO()
    figure.savefig(svg, format="svg", metadata={"Date": None})
    figure.savefig(png, format="png", dpi=DPI, metadata={"Software": None})
    return Picture(name=name, title=title, words=words, svg=svg.getvalue(), png=png.getvalue())


def _drawn(
    name: str, title: str, words: str, size: tuple[float, float], draw: Callable[[Axes], None]
) -> Picture:
    """One set of axes, drawn on by `draw`. Names in a figure are text, never formulas."""
    with rc_context({**STYLE, "text.parse_math": False}):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure.add_subplot())
        return picture_of(name, title, words, figure)


def _axes_of_cost(found: Analysis) -> list[tuple[str, str]]:
    axes = [("tokens", "tokens a query"), ("seconds", "median seconds a query")]
    if any(row.cost.dollars for row in found.entries):
        axes.append(("dollars", "dollars for 1,000 queries"))
    return axes


def _front(found: Analysis, cost: str, label: str) -> Picture:
    on_front = found.front[cost]

    def draw(axes: Axes) -> None:
        for place, row in enumerate(found.entries):
            x, estimate = _cost(row, cost), row.accuracy
            if estimate is not None:
                axes.errorbar(
                    x, estimate.value, yerr=reach(estimate), **look(place),
                    capsize=3, markersize=7, label=row.name,
                )  # fmt: skip
        line = [(_cost(r, cost), r.right / r.n) for n in on_front for r in _named(found, n)]
        axes.plot(*zip(*line, strict=True), color=GREY, linestyle="--", zorder=0)
        axes.set(xlabel=label, ylabel="accuracy", ylim=(-0.03, 1.03))
        axes.set_xlim(left=-0.03 * axes.get_xlim()[1])
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)

    words = f"Accuracy against {label}. Nothing beats both of: {', '.join(on_front)}."
    return _drawn(f"front-{cost}", f"Accuracy against {label}", words, (7.2, 3.6), draw)


def look(place: int) -> dict[str, Any]:
    """How an entry is drawn: no two of 64 have colour and marker in common."""
    return {"color": COLOURS[place % 8], "fmt": MARKERS[(place + place // 8) % 8]}


def _recovery(rows: Sequence[ClientRow]) -> Picture:
    """Recovery and regression of each client, with the control's beside them."""
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
                        place + offset, estimate.value, 0.19, xerr=reach(estimate), capsize=2,
                        color=colour if not hatch else "white", edgecolor=colour, hatch=hatch,
                    )  # fmt: skip
        axes.set_yticks(range(len(bars)), [name for name, _, _ in bars])
        axes.invert_yaxis()
        axes.set(xlabel="share", xlim=(0, 1))
        _keys(axes, {"recovery": (GREEN, ""), "by the control": (GREEN, "///"),
                     "regression": (RED, ""), "by the control ": (RED, "///")})  # fmt: skip

    words = "Recovery and regression of each client, and of the control that asks again unguided."
    size = (7.2, 1.4 + 0.62 * len(bars))
    return _drawn("recovery", "Recovery and regression", words, size, draw)


def _flow(rows: Sequence[ClientRow]) -> Picture:
    """What became of each client's drafts, as shares of all its items."""
    kinds = (
        ("right, stayed right", BLUE, ""),
        ("wrong, now right", GREEN, ""),
        ("right, now wrong", RED, "xxx"),
        ("wrong, stayed wrong", "#DDDDDD", ""),
    )

    def draw(axes: Axes) -> None:
        for place, row in enumerate(rows):
            counts = (
                row.change.kept, row.change.recovered, row.change.spoiled, row.change.still_wrong,
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
    return _drawn("flow", "From draft to refined answer", words, size, draw)


def _latency(data: RunData, found: Analysis) -> Picture:
    """The share of queries that had ended after so many seconds."""

    def draw(axes: Axes) -> None:
        for place, row in enumerate(found.entries):
            seconds = sorted(u.seconds for u in data.units if u.entry == row.name)
            shares = [(n + 1) / len(seconds) for n in range(len(seconds))]
            axes.step([0.0, *seconds], [0.0, *shares], where="post", color=COLOURS[place % 8],
                      linestyle=("-", "--", ":", "-.")[place // 8 % 4], label=row.name)  # fmt: skip
        axes.set(xlabel="seconds from ask to answer", ylabel="share answered", ylim=(0, 1.02))
        axes.set_xlim(left=0)
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)

    words = "How long queries took: the share of each entry's queries that had ended by a time."
    return _drawn("latency", "How long queries took", words, (7.2, 3.2), draw)


def _surface(entry: str, points: Sequence[Point]) -> Picture:
    """Accuracy for each pair of thresholds, one panel for each n, with the server's share."""
    ns = sorted({point.n for point in points})
    with rc_context({**STYLE, "text.parse_math": False}):
        figure = Figure(figsize=(1.2 + 3.2 * len(ns), 3.4), layout="constrained")
        FigureCanvasAgg(figure)
        panels = figure.subplots(1, len(ns), squeeze=False)[0]
        values = [point.accuracy for point in points]
        for axes, n in zip(panels, ns, strict=True):
            image = _heat(axes, [p for p in points if p.n == n], min(values), max(values))
            axes.set_title(f"n = {n}")
        figure.colorbar(image, ax=list(panels), label="accuracy")
        words = f"Accuracy of {entry} for thresholds t1 and t2, replayed from stored samples."
        title = f"Replayed thresholds of {entry}"
        return picture_of(f"surface-{entry}", title, words, figure)


def _heat(axes: Axes, points: Sequence[Point], low: float, high: float) -> Any:
    t1s, t2s = sorted({p.t1 for p in points}), sorted({p.t2 for p in points})
    at = {(p.t1, p.t2): p for p in points}
    grid = [[at[t1, t2].accuracy for t1 in t1s] for t2 in t2s]
    image = axes.imshow(grid, origin="lower", aspect="auto", cmap="cividis", vmin=low, vmax=high)
    for y, t2 in enumerate(t2s):
        for x, t1 in enumerate(t1s):
            bright = at[t1, t2].accuracy > (low + high) / 2
            axes.text(x, y, f"{at[t1, t2].accuracy:.0%}", ha="center", va="center", fontsize=7,
                      color="black" if bright else "white")  # fmt: skip
    axes.set_xticks(range(len(t1s)), [f"{t:g}" for t in t1s])
    axes.set_yticks(range(len(t2s)), [f"{t:g}" for t in t2s])
    axes.set(xlabel="t1", ylabel="t2")
    return image


def _keys(axes: Axes, kinds: Mapping[str, tuple[str, str]]) -> None:
    for name, (colour, hatch) in kinds.items():
        face = "white" if hatch == "///" else colour
        axes.barh([0], [0], color=face, edgecolor=colour, hatch=hatch, label=name)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4, frameon=False)


def reach(estimate: Estimate) -> list[list[float]]:
    """The two arms of an error bar; rounding must not turn one around."""
    low, high = estimate.value - estimate.low, estimate.high - estimate.value
    return [[max(0.0, low)], [max(0.0, high)]]


def _cost(row: EntryRow, cost: str) -> float:
    return {"tokens": row.tokens_each, "seconds": row.seconds, "dollars": 1000 * row.dollars_each}[
        cost
    ]


def _named(found: Analysis, name: str) -> list[EntryRow]:
    return [row for row in found.entries if row.name == name]
