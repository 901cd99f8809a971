"""Command line, tables and JSON of a benchmark.

options = parser(__doc__).parse_args()
report = Report("overhead", settings={"clients": 3})
with progress() as bar:
    for _ in bar.track(range(100), description="asking"): ...
report.measured("ask to answer", samples, unit="ms")
report.compared("ask_vs_floor", over=samples, under=floor_samples, meaning="...")
report.publish(options.json)
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from benchmarks.harness import machine
from benchmarks.harness.stats import Interval, Summary, ratio_interval, ratio_of_medians, summarize


def parser(description: str | None, *, services: bool = False) -> argparse.ArgumentParser:
    """The options of every benchmark. `services`: also --broker and --database."""
    options = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--quick", action="store_true", help="smaller samples, under 50 seconds")
    options.add_argument("--json", type=Path, metavar="PATH", help="write the figures there, too")
    if services:
        options.add_argument("--broker", metavar="URL", help="amqp://, an unused virtual host")
        options.add_argument("--database", metavar="URL", help="postgresql+psycopg2://, unused")
    return options


def progress() -> Progress:
    """A transient progress bar on stderr; silent without a terminal."""
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


@dataclass(frozen=True, kw_only=True)
class Row:
    """One measured quantity."""

    name: str
    unit: str
    figures: Summary


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """A figure to compare between releases."""

    name: str
    value: float
    #: None for a ratio without samples.
    interval: Interval | None
    meaning: str


@dataclass
class Report:
    """The figures of one run."""

    benchmark: str
    settings: Mapping[str, Any]
    machine: dict[str, Any] = field(default_factory=machine.describe)
    rows: list[Row] = field(default_factory=list)
    #: Unmeasured quantities with the reason.
    absent: dict[str, str] = field(default_factory=dict)
    ratios: list[Ratio] = field(default_factory=list)

    def measured(self, name: str, samples: Sequence[float], *, unit: str) -> Row:
        row = Row(name=name, unit=unit, figures=summarize(samples))
        self.rows.append(row)
        return row

    def missing(self, name: str, reason: str) -> None:
        """Adds a quantity that could not be measured, with the reason."""
        self.absent[name] = reason

    def compared(
        self, name: str, *, over: Sequence[float], under: Sequence[float], meaning: str
    ) -> float:
        """Adds a ratio of medians with its interval."""
        value, interval = ratio_of_medians(over, under), ratio_interval(over, under)
        self.ratios.append(Ratio(name=name, value=value, interval=interval, meaning=meaning))
        return value

    def ratio(self, name: str, value: float, *, meaning: str) -> None:
        """Adds a ratio without samples."""
        self.ratios.append(Ratio(name=name, value=value, interval=None, meaning=meaning))

    def document(self) -> dict[str, Any]:
        """The report as JSON; `ratios` maps names to numbers."""
        return {
            "benchmark": self.benchmark,
            "ratios": {ratio.name: ratio.value for ratio in self.ratios},
            "intervals": {r.name: list(r.interval) for r in self.ratios if r.interval},
            "results": [
                {"name": row.name, "unit": row.unit, **asdict(row.figures)} for row in self.rows
            ],
            "absent": dict(self.absent),
            "settings": dict(self.settings),
            "machine": self.machine,
        }

    def publish(self, path: Path | None, console: Console | None = None) -> None:
        """Prints the tables, and writes the JSON to `path`."""
        console = console or Console()
        console.print(self._results())
        if self.ratios:
            console.print(self._ratios())
        console.print(_one_line(self.machine), style="dim", highlight=False)
        if path is not None:
            text = json.dumps(self.document(), indent=2, allow_nan=False)
            path.write_text(text + "\n", encoding="utf-8")

    def _results(self) -> Table:
        settings = ", ".join(f"{name} {value}" for name, value in self.settings.items())
        table = Table(title=self.benchmark, caption=settings, title_justify="left")
        table.add_column("measured")
        for heading in ("median", "p99", "least", "most", "samples"):
            table.add_column(heading, justify="right")
        table.add_column("unit")
        for row in self.rows:
            figures = row.figures
            cells = [_short(v) for v in (figures.median, figures.p99, figures.least, figures.most)]
            table.add_row(row.name, *cells, str(figures.samples), row.unit)
        for name, reason in self.absent.items():
            table.add_row(f"{name}: absent, {reason}")
        return table

    def _ratios(self) -> Table:
        table = Table()
        for heading in ("ratio", "value", "95 % interval", "meaning"):
            table.add_column(heading)
        for ratio in self.ratios:
            interval = " - ".join(_short(end) for end in ratio.interval or ())
            table.add_row(ratio.name, _short(ratio.value), interval, ratio.meaning)
        return table


def _short(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _one_line(details: Mapping[str, Any]) -> str:
    parts = [
        f"{details['cpu']}, {details['cores']} cores, {details['memory_gib']} GiB, {details['os']}"
    ]
    parts += [f"Python {details['python']}", f"load {details['load_before']}"]
    return ", ".join(parts)
