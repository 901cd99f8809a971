"""`colm experiment ...`: comparisons that are made by one command each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from colm.models.errors import CallerError, ColmError
from colm.workers.cli.options import Json, Run

group = typer.Typer(
    help="Make a comparison by one command: its entries, its run, a table and a plot.",
    no_args_is_help=True,
)


@group.command("list")
def list_experiments(as_json: Json = False) -> None:
    """List the experiments, and which of them this site can make."""
    from rich.console import Console
    from rich.table import Table

    from colm.tasks.config.settings import settings
    from colm.workers.console import print_plain
    from colm.workers.experiments.plan import site_of, told_experiments

    told = told_experiments(site_of(settings()))
    if as_json:
        print_plain(told)
        return
    table = Table(box=None, header_style="bold")
    table.add_column("experiment", no_wrap=True)
    for column in ("asks", "on this site"):
        table.add_column(column, overflow="fold")
    for one in told:
        table.add_row(one["name"], one["asks"], one["problem"] or f"{one['entries']} entries")
    Console().print(table)


@group.command("run")
def run_experiment(
    name: Annotated[str, typer.Argument(help="The experiment; colm experiment list.")],
    data: Annotated[
        str,
        typer.Option(help="A data set, or an evaluation's TOML file: all but its entries is used."),
    ],
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many examples.")] = None,
    seeds: Annotated[str | None, typer.Option(help="As in 0,1,2: each asks all again.")] = None,
    clients: Annotated[str | None, typer.Option(help="These, in this order: ada,bo.")] = None,
    servers: Annotated[str | None, typer.Option(help="These, in this order.")] = None,
    concurrency: Annotated[int | None, typer.Option(min=1, help="Queries at once.")] = None,
    share: Annotated[
        bool | None, typer.Option("--share/--no-share", help="Generate equal steps once.")
    ] = None,
    conditions: Annotated[
        str | None,
        typer.Option(help="network, threads, memory: only these; the first is the baseline."),
    ] = None,
    run_name: Annotated[str | None, typer.Option("--name", help="The run's name.")] = None,
    follow: Annotated[bool, typer.Option(help="Until the run ends; then report it.")] = True,
    as_json: Json = False,
) -> None:
    """Order an experiment as one run, show its progress, then its table; write its plot."""
    from colm.workers.experiments.plan import Order

    order = Order(
        data=data,
        clients=_names(clients),
        servers=_names(servers),
        limit=limit,
        seeds=_numbers(seeds),
        concurrency=concurrency,
        share=share,
    )
    with _explained():
        from colm.evaluation.experiments.conditions import ENVIRONMENT_EXPERIMENTS

        if name in ENVIRONMENT_EXPERIMENTS:
            from colm.workers.experiments.conditions import run_conditions

            if not follow:
                raise CallerError(f"{name} starts clients of its own: it cannot be left alone")
            raise typer.Exit(
                run_conditions(name, order, run_name, _names(conditions), as_json=as_json)
            )
        from colm.workers.experiments.report import run_experiment as run

        raise typer.Exit(run(name, order, run_name, follow=follow, as_json=as_json))


@group.command("report")
def report_experiment(
    run: Run,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A folder; default: experiment-RUN.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show an experiment's table, and write it with its plot as HTML, JSON and PNG."""
    with _explained():
        from colm.workers.experiments.report import report_experiment as report

        report(run, output, as_json=as_json)


@contextmanager
def _explained() -> Iterator[None]:
    """Statistics and plots are an extra; without it, say so."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise ColmError(f"{error.name} is not installed: pip install 'colm[evaluation]'") from error


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def _numbers(text: str | None) -> list[int] | None:
    try:
        return None if text is None else [int(part) for part in text.split(",")]
    except ValueError as error:
        raise CallerError(f"--seeds {text!r} is not of the form 0,1,2") from error
