"""`colm evaluate`, `evaluator`, `report` and `run ...`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from colm.models.errors import ColmError
from colm.workers.cli import completion
from colm.workers.cli.options import Json, Run

run = typer.Typer(
    help="List, watch, pause, resume and cancel evaluation runs.", no_args_is_help=True
)


def evaluate(
    config: Annotated[str, typer.Argument(help="A TOML file; with --check also a data set.")],
    name: Annotated[
        str | None, typer.Option(help="The run's name; default: file and time.")
    ] = None,
    follow: Annotated[bool, typer.Option(help="Show the progress until the run ends.")] = True,
    check: Annotated[
        bool, typer.Option("--check", help="Only grade the data set's own answers.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Order an evaluation of strategies on a data set; a running evaluator works on it."""
    if check:
        from colm.workers.evaluator.dataset_check import check_source

        raise typer.Exit(check_source(config, as_json=as_json))
    from colm.workers.evaluator.run_control import order_run

    raise typer.Exit(order_run(Path(config), name, follow=follow, as_json=as_json))


def evaluator() -> None:
    """Run an evaluator: works on ordered runs until it is stopped."""
    from colm.workers.evaluator.process import run_evaluator
    from colm.workers.process_log import log_to_stderr

    log_to_stderr()
    raise typer.Exit(run_evaluator())


def report(
    run: Annotated[
        str | None,
        typer.Argument(
            help="A run's name or its beginning; default: the newest.",
            autocompletion=completion.runs,
        ),
    ] = None,
    before: Annotated[
        str | None,
        typer.Argument(help="An earlier run to compare with.", autocompletion=completion.runs),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A folder; default: report-RUN.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write the report of a run: accuracy, intervals, costs, recovery; or compare two runs."""
    try:
        from colm.workers.evaluator.report import write_report
    except ModuleNotFoundError as error:  # statistics and plots are an extra
        raise ColmError(f"{error.name} is not installed: pip install 'colm[evaluation]'") from error

    write_report(run, before, output, as_json=as_json)


@run.command("list")
def list_runs(as_json: Json = False) -> None:
    """List the latest runs."""
    from colm.workers.evaluator.run_control import list_runs as list_all

    list_all(as_json=as_json)


@run.command()
def show(
    run: Run,
    follow: Annotated[bool, typer.Option("--follow", help="Wait until the run ends.")] = False,
    as_json: Json = False,
) -> None:
    """Show a run's progress: done, right, tokens, time left, and what sharing saved."""
    from colm.workers.evaluator.run_control import show_run

    raise typer.Exit(show_run(run, follow=follow, as_json=as_json))


@run.command()
def pause(run: Run) -> None:
    """Ask no further queries of a run; running queries end."""
    from colm.workers.evaluator.run_control import change_run

    change_run(run, "paused")


@run.command()
def resume(run: Run) -> None:
    """Continue a run that is paused or failed; finished queries are not repeated."""
    from colm.workers.evaluator.run_control import change_run

    change_run(run, "resumed")


@run.command()
def cancel(run: Run) -> None:
    """End a run for good; its results stay."""
    from colm.workers.evaluator.run_control import change_run

    change_run(run, "cancelled")
