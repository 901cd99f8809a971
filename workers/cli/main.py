"""The `colm` command: the list of its commands, which are in `colm.workers.commands`."""

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
    reliability,
    replay,
    site,
    terminal,
    tune,
)

app = typer.Typer(
    name="colm",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
errors = Console(stderr=True)

#: Libraries whose errors tell of a broker, a database or an endpoint, and of no fault of ours.
OF_SERVICES = {"amqp", "httpcore", "httpx", "kombu", "pika", "psycopg2", "redis"}


def _show_version(asked: bool) -> None:
    if asked:
        try:
            typer.echo(f"colm {version('colm')}")
        except PackageNotFoundError:
            typer.echo("colm, not installed: it runs from its source")
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
    replay.replay,
    reliability.reliability,
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
    """Run the command line; what went wrong is one line that says what to do, exit status 1."""
    terminal.prepare()
    status, trouble = _run()
    fault = terminal.unwritten(sys.stdout)
    if fault is not None and not isinstance(fault, BrokenPipeError):
        trouble = f"standard output cannot be written: {fault.strerror}"
    if trouble is not None:
        _complain(trouble)
    sys.exit(1 if trouble or fault else status)


def _run() -> tuple[int | str | None, str | None]:
    """The exit status of the command, and what went wrong in one line with markup."""
    try:
        app()
    except SystemExit as ended:
        return ended.code, None
    except KeyboardInterrupt:
        return 130, None
    except (ColmError, OSError) as error:
        return 1, _told(error)
    except Exception as error:
        if str(error) == "Could not determine home directory.":  # pathlib's
            return 1, _told(ColmError("this user has no home folder: set HOME"))
        if type(error).__module__.partition(".")[0] not in OF_SERVICES:
            raise
        return 1, _told(error)
    return 0, None


def _told(error: Exception) -> str:
    words = str(error) or repr(error)
    if isinstance(error, OSError) and error.strerror:
        # Without a name it was written to something that is open: most of all to standard output.
        unnamed = "standard output, or a file, cannot be written" if _full(error) else ""
        words = ": ".join(filter(None, [error.filename or unnamed, error.strerror]))
    return f"[bold red]{type(error).__name__}:[/] {escape(words)}"


def _full(error: OSError) -> bool:
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def _complain(trouble: str) -> None:
    with contextlib.suppress(OSError):
        errors.print(trouble, highlight=False, soft_wrap=True)
    terminal.unwritten(sys.stderr)
