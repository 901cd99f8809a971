"""Rendering of figures as SVG and PNG; colours and style.

Without pyplot: thread-safe, and equal data give equal bytes. Colours suit colour-blind readers
(Okabe and Ito, 2008).
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from colm.evaluation.stats.statistics import Estimate

BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#999999"
COLOURS: Final = (BLUE, ORANGE, GREEN, RED, "#CC79A7", "#56B4E9", "#F0E442", "#000000")
MARKERS: Final = "osD^vPX*"
#: matplotlib settings. Names are text, never formulas.
STYLE: Final[dict[Any, Any]] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.hashsalt": "colm",
    "hatch.linewidth": 0.6,
    "text.parse_math": False,
}
#: Dots an inch of PNGs.
DPI: Final = 144


@dataclass(frozen=True, kw_only=True)
class RenderedFigure:
    """One figure; `name` is its file's, `words` its alternative text."""

    name: str
    title: str
    words: str
    svg: bytes
    png: bytes


def render(
    name: str, title: str, words: str, size: tuple[float, float], draw: Callable[[Figure], None]
) -> RenderedFigure:
    """Render a figure of `size` inches that `draw` fills."""
    with rc_context(STYLE):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure)
        svg, png = io.BytesIO(), io.BytesIO()
        figure.savefig(svg, format="svg", metadata={"Date": None})
        figure.savefig(png, format="png", dpi=DPI, metadata={"Software": None})
    return RenderedFigure(
        name=name, title=title, words=words, svg=svg.getvalue(), png=png.getvalue()
    )


def error_bar(estimate: Estimate) -> list[list[float]]:
    """The two lengths of an error bar; never negative by rounding."""
    low, high = estimate.value - estimate.low, estimate.high - estimate.value
    return [[max(0.0, low)], [max(0.0, high)]]
