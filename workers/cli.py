"""The `colm` command: the list of its commands, which are in `workers.commands`."""

from __future__ import annotations

import sys

import typer
from rich.console import Console
from rich.markup import escape

from models.errors import ColmError
from workers.commands import (
    asking,
    audit,
    cancelling,
    clients,
    dead,
    evaluating,
    experimenting,
    images,
    reliability,
    replaying,
    running,
    serving,
)

app = typer.Typer(
    name="colm",
    help="Many small language models share a few large ones, through a message queue.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
errors = Console(stderr=True)

for command in (
    running.demo,
    running.init,
    running.up,
    asking.ask,
    asking.show,
    asking.queries,
    replaying.replay,
    reliability.reliability,
    audit.purge,
    audit.erase,
    cancelling.cancel,
    evaluating.evaluate,
    evaluating.evaluator,
    evaluating.report,
    serving.coordinator,
    images.images,
    running.migrate,
    running.flower,
    running.doctor,
):
    app.command()(command)
for role in ("client", "server"):
    app.add_typer(clients.group(role), name=role)
app.add_typer(dead.group, name="dead")
app.add_typer(audit.group, name="audit")

app.add_typer(evaluating.run, name="run")
app.add_typer(experimenting.group, name="experiment")


def main() -> None:
    """Run the command line; an error of ours is one line that says what to do, exit status 1."""
    try:
        app()
    except ColmError as error:
        told = f"[bold red]{type(error).__name__}:[/] {escape(str(error))}"
        errors.print(told, highlight=False, soft_wrap=True)
        sys.exit(1)
