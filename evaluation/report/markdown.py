"""Tables of a report as Markdown. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from colm.evaluation.report.number_format import interval, number, p_value, points, share
from colm.evaluation.stats.analysis import Analysis
from colm.evaluation.stats.run_data import RunData

Row = Sequence[str]


def tables(data: RunData, analysis: Analysis) -> str:
    """A summary of the run, and a table of each kind with rows."""
    parts = [
        _about(data),
        *analysis.cautions,
        table(
            "entry", "right", "accuracy (95 %)", "no answer found", "failed", "calls",
            "tokens read", "written", "dollars for 1,000", "median s",
            rows=_entries(analysis),
        ),
        table(
            "entry", "against", "n", "points (95 %)", "right alone", "other alone", "p", "Holm p",
            rows=_comparisons(analysis),
        ),
        table(
            "entry", "client", "n", "drafts right", "refined right", "recovery", "regression",
            "recovery above the control", "Holm p",
            rows=_clients(analysis),
        ),
        table(
            "entry", "stage", "reached", "deferred", "answered", "right of these",
            "tokens each", "dollars for 1,000",
            rows=_stages(analysis),
        ),
    ]  # fmt: skip
    return "\n\n".join(part for part in parts if part) + "\n"


def _about(data: RunData) -> str:
    saved = data.steps_asked - data.steps_generated
    return (
        f"{data.data}; {len(data.units)} of {data.planned} queries. Reported on {data.machine}."
        f" {saved} of {data.steps_asked} steps were shared: {data.tokens_saved:,} tokens not"
        " generated again."
    )


def _entries(analysis: Analysis) -> Iterator[Row]:
    for row in analysis.entries:
        cost = row.cost
        yield (
            row.name, f"{row.right} of {row.n}", interval(row.accuracy), f"{row.unparsed}",
            f"{row.failed}", number(cost.calls / row.n), number(cost.prompt_tokens / row.n),
            number(cost.completion_tokens / row.n), number(1000 * row.dollars_each),
            number(row.seconds),
        )  # fmt: skip


def _comparisons(analysis: Analysis) -> Iterator[Row]:
    for row in analysis.comparisons:
        yield (
            row.entry, row.baseline, f"{row.n}", points(row.paired.gain),
            f"{row.paired.only_first}", f"{row.paired.only_second}",
            p_value(row.paired.p),
            p_value(row.holm_p),
        )  # fmt: skip


def _clients(analysis: Analysis) -> Iterator[Row]:
    for row in analysis.clients:
        above = row.controlled.above_chance if row.controlled else None
        yield (
            row.entry, row.client, f"{row.change.n}", interval(row.change.alone),
            interval(row.change.after), interval(row.change.recovery),
            interval(row.change.regression), points(above.gain if above else None),
            p_value(row.holm_p),
        )  # fmt: skip


def _stages(analysis: Analysis) -> Iterator[Row]:
    for entry, rows in analysis.stages.items():
        for row in rows:
            answered = row.ended - row.failed
            dollars = None if row.mean_dollars is None else 1000 * row.mean_dollars
            yield (
                entry, f"{row.stage}", f"{row.reached}", share(row.defer_rate), f"{answered}",
                f"{row.right} of {answered}", number(row.mean_tokens), number(dollars),
            )  # fmt: skip


def table(*names: str, rows: Iterable[Row]) -> str:
    """A table under `names`, with escaped cells; "" without rows."""
    cells = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    if not cells:
        return ""
    return "\n".join(f"| {' | '.join(r)} |" for r in (names, ["---"] * len(names), *cells))
