"""The plot of a tuning's losses."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from colm.evaluation.report.figures import BLUE, GREY, ORANGE, RenderedFigure, render

#: Steps that the smoothed line averages.
SMOOTHED_OVER = 10


def loss_plot(losses: Sequence[float], held_back: Sequence[tuple[int, float]]) -> RenderedFigure:
    """Training loss by step, its moving average, and the loss of held-back examples (nats)."""
    smoothed = [
        sum(losses[max(0, end - SMOOTHED_OVER) : end])
        / len(losses[max(0, end - SMOOTHED_OVER) : end])
        for end in range(1, len(losses) + 1)
    ]

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        steps = range(1, len(losses) + 1)
        axes.plot(steps, losses, color=GREY, linewidth=0.6, label="batch")
        axes.plot(steps, smoothed, color=BLUE, label=f"mean of {SMOOTHED_OVER} batches")
        if held_back:
            axes.plot(*zip(*held_back, strict=True), "o-", color=ORANGE, label="held back")
        axes.set(xlabel="step", ylabel="cross-entropy of answer tokens (nats)")
        axes.set_ylim(bottom=0)
        axes.legend(frameon=False)

    words = f"Loss over {len(losses)} steps, from {losses[0]:.2f} to {smoothed[-1]:.2f}."
    return render("loss", "Loss of the tuning", words, (6.4, 3.4), draw)
