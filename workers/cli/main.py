"""The `colm` command. Each command imports its implementation when it runs."""

from __future__ import annotations

import contextlib
import errno
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from colm.models.errors import ColmError
from colm.workers.cli import (
    ask,
    audit,
    dead_letters,
    evaluations,
    experiments,
    participants,
    processes,
    site,
    terminal,
    tune,
)

app = typer.Typer(name="colm", no_args_is_help=True, pretty_exceptions_enable=False)
errors = Console(stderr=True)

#: Libraries whose errors mean a broker, database or endpoint; any other error gets a traceback.
OF_SERVICES = {"amqp", "httpcore", "httpx", "kombu", "pika", "psycopg2", "redis"}


def _show_version(show: bool) -> None:
    if show:
        try:
            typer.echo(f"colm {version('colm')}")
        except PackageNotFoundError:
            typer.echo("colm, not installed: runs from source")
        raise typer.Exit


@app.callback()
def colm(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", help="Show the version and exit.", callback=_show_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Many small language models share a few large ones, through a message queue."""


for command in (
    site.demo,
    site.init,
    site.up,
    ask.ask,
    ask.show,
    ask.queries,
    tune.tune,
    ask.replay,
    ask.reliability,
    audit.purge,
    audit.erase,
    ask.cancel,
    evaluations.evaluate,
    evaluations.evaluator,
    evaluations.report,
    processes.coordinator,
    processes.images,
    site.migrate,
    site.flower,
    site.doctor,
):
    app.command()(command)
for role in ("client", "server"):
    app.add_typer(participants.group(role), name=role)
app.add_typer(dead_letters.group, name="dead")
app.add_typer(audit.group, name="audit")

app.add_typer(evaluations.run, name="run")
app.add_typer(experiments.group, name="experiment")


def main() -> None:
    """Run the command line. An error is one line that says what to do, with exit status 1."""
    terminal.prepare()
    status, message = _run()
    fault = terminal.unwritten(sys.stdout)
    if fault is not None and not isinstance(fault, BrokenPipeError):
        message = f"standard output cannot be written: {fault.strerror}"
    if message is not None:
        _print_error(message)
    sys.exit(1 if message or fault else status)


def _run() -> tuple[int | str | None, str | None]:
    """The exit status of the command, and its error as one line with markup."""
    try:
        app()
    except SystemExit as ended:
        return ended.code, None
    except KeyboardInterrupt:
        return 130, None
    except (ColmError, OSError) as error:
        return 1, _message(error)
    except Exception as error:
        if str(error) == "Could not determine home directory.":  # pathlib's
            return 1, _message(ColmError("this user has no home folder: set HOME"))
        if type(error).__module__.partition(".")[0] not in OF_SERVICES:
            raise
        return 1, _message(error)
    return 0, None


def _message(error: Exception) -> str:
    words = str(error) or repr(error)
    if isinstance(error, OSError) and error.strerror:
        # Without a file name the error is of an open file: most often standard output.
        unnamed = "standard output, or a file, cannot be written" if _full(error) else ""
        words = ": ".join(filter(None, [error.filename or unnamed, error.strerror]))
    return f"[bold red]{type(error).__name__}:[/] {escape(words)}"


def _full(error: OSError) -> bool:
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def _print_error(message: str) -> None:
    with contextlib.suppress(OSError):
        errors.print(message, highlight=False, soft_wrap=True)
    terminal.unwritten(sys.stderr)
