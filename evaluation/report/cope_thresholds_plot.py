"""Figure of a threshold sweep: accuracy above, cost below, one column for each n."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from colm.evaluation.report.figures import RenderedFigure, render
from colm.evaluation.stats.cope_thresholds import ThresholdPoint


class Panel(NamedTuple):
    """A row of panels: the value of a point, its format and colours."""

    label: str
    value: Callable[[ThresholdPoint], float]
    form: str
    #: A matplotlib colour map; bright is good.
    colours: str


ACCURACY = Panel("accuracy", lambda point: point.accuracy, "{:.0%}", "cividis")
TOKENS = Panel("tokens", lambda point: point.tokens, "{:,.0f}", "cividis_r")
DOLLARS = Panel("dollars for 1,000", lambda point: 1000 * point.dollars, "{:#.2g}", "cividis_r")


def thresholds_figure(entry: str, points: Sequence[ThresholdPoint]) -> RenderedFigure:
    """Accuracy, and dollars (tokens without prices), for each pair of thresholds."""
    ns = sorted({point.n for point in points})
    cost = DOLLARS if any(point.dollars for point in points) else TOKENS

    def draw(figure: Figure) -> None:
        for panels, panel in zip(
            figure.subplots(2, len(ns), squeeze=False), (ACCURACY, cost), strict=True
        ):
            values = [panel.value(point) for point in points]
            scale = Normalize(min(values), max(values))
            for axes, n in zip(panels, ns, strict=True):
                image = _heat(axes, [p for p in points if p.n == n], panel, scale)
                axes.set_title(f"n = {n}")
            figure.colorbar(image, ax=list(panels), label=panel.label)

    words = (
        f"Accuracy and {cost.label} of {entry} for thresholds t1 and t2, "
        "replayed from stored samples."
    )
    title = f"Replayed thresholds of {entry}"
    return render(f"thresholds-{entry}", title, words, (1.2 + 2.9 * len(ns), 6.2), draw)


def _heat(
    axes: Axes, points: Sequence[ThresholdPoint], panel: Panel, scale: Normalize
) -> AxesImage:
    t1s, t2s = sorted({p.t1 for p in points}), sorted({p.t2 for p in points})
    at = {(p.t1, p.t2): panel.value(p) for p in points}
    grid = [[at[t1, t2] for t1 in t1s] for t2 in t2s]
    image = axes.imshow(grid, origin="lower", aspect="auto", cmap=panel.colours, norm=scale)
    for y, row in enumerate(grid):
        for x, value in enumerate(row):
            bright = sum(image.cmap(scale(value))[:3]) > 1.5
            axes.text(x, y, panel.form.format(value), ha="center", va="center", fontsize=7,
                      color="black" if bright else "white")  # fmt: skip
    axes.set_xticks(range(len(t1s)), [f"{t:.3g}" for t in t1s])
    axes.set_yticks(range(len(t2s)), [f"{t:.3g}" for t in t2s])
    axes.set(xlabel="t1", ylabel="t2")
    return image
