"""Implementation of `colm experiment run` and `report`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table as Lines
from sqlalchemy import Engine

from colm.db.connection import connect
from colm.db.runs import store
from colm.evaluation.experiments import report
from colm.evaluation.experiments.report import Table, table_of
from colm.evaluation.stats.run_data import RunData
from colm.models.errors import ColmError
from colm.tasks.config.settings import settings
from colm.workers.console import print_json
from colm.workers.evaluator.report import read_run
from colm.workers.evaluator.run_control import follow_run, place_order, whole_name
from colm.workers.experiments.plan import Order, config_of, layout_of, site_of


def run_experiment(
    name: str, order: Order, run_name: str | None, *, follow: bool, as_json: bool
) -> int:
    """Order an experiment; with `follow`, wait and report it. The exit status."""
    config = config_of(name, site_of(settings()), order, Path.cwd())
    run = place_order(config, run_name)
    console = Console(stderr=as_json)
    console.print(
        f"ordered [bold]{escape(run)}[/] of {len(config.entries)} entries: "
        f"colm run show {escape(run)}, then colm experiment report {escape(run)}",
        highlight=False,
        soft_wrap=True,
    )
    if not follow:
        if as_json:
            print_json({"run": run, "entries": [entry.name for entry in config.entries]})
        return 0
    engine = connect(settings().database_url)
    ended = follow_run(engine, store.find(engine, run))
    if ended.state == "failed":
        raise ColmError(f"run {run} failed: {ended.note}")
    report_experiment(run, None, as_json=as_json)
    return 0


def report_experiment(run: str, folder: Path | None, *, as_json: bool) -> None:
    """Write the experiment's page, plot and numbers and print its table; or print it as JSON."""
    engine = connect(settings().database_url)
    data, table = read_experiment(engine, whole_name(engine, run))
    tell(data, table, folder or Path(f"experiment-{data.run}"), as_json=as_json)


def tell(data: RunData, table: Table, folder: Path, *, as_json: bool) -> None:
    """Print the table and write its files into `folder`; or print the numbers."""
    if as_json:
        print_json(report.as_json(data, table))
        return
    console = Console()
    console.print(lines_of(table))
    for note in (*data.notes, *table.cautions):
        console.print(escape(note), style="yellow")
    files = report.write(data, table, folder)
    console.print(f"wrote {files['html']}", highlight=False, soft_wrap=True)


def read_experiment(engine: Engine, run: str) -> tuple[RunData, Table]:
    """An experiment's run and table so far. Raises ColmError if nothing is done."""
    row = store.find(engine, run)
    layout = layout_of(run, row.config)
    data = read_run(engine, run)
    if not data.units:
        raise ColmError(f"run {run} has no finished units yet")
    data = replace(data, notes=(*data.notes, *_cautions(data, row.config)))
    return data, table_of(data, layout)


def lines_of(table: Table) -> Lines:
    """The table as lines of the terminal."""
    head, rows = report.cells(table)
    lines = Lines(title=escape(table.layout.asks), box=None, header_style="bold")
    for place, words in enumerate(head):
        lines.add_column(escape(words), justify="left" if place < 2 else "right")
    for row in rows:
        lines.add_row(*map(escape, row))
    return lines


def _cautions(data: RunData, config: dict[str, Any]) -> list[str]:
    """Notes on what the run's seconds include besides its queries."""
    cautions = []
    if data.steps_generated < data.steps_asked:
        cautions.append(
            f"{data.steps_asked - data.steps_generated} of {data.steps_asked} steps were shared "
            "between queries, which saves time: use --no-share to compare seconds."
        )
    if config["concurrency"] > 1:
        cautions.append(
            f"{config['concurrency']} queries were in flight at once and waited for each other: "
            "use --concurrency 1 for the time of a single query."
        )
    return cautions
