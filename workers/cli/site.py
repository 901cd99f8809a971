"""`colm demo`, `init`, `up`, `migrate`, `flower`, `doctor`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from colm.models.errors import ColmError
from colm.workers.cli import completion
from colm.workers.cli.options import Json


def demo(
    question: Annotated[str, typer.Argument(help="The question.")] = (
        "Why does ice float on water?"
    ),
    rounds: Annotated[int, typer.Option(min=1, max=8)] = 1,
) -> None:
    """Start the embedded stack, ask one question, show every step, and stop."""
    from colm.workers.cli.demo import run_demo

    run_demo(question, rounds)


def init(path: Annotated[Path, typer.Argument(help="File to write.")] = Path("colm.toml")) -> None:
    """Write a commented colm.toml with every default."""
    from colm.workers.cli.config_template import TEMPLATE

    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(TEMPLATE)
    except FileExistsError:
        raise ColmError(f"{path} exists already and was not changed") from None
    except OSError as error:
        raise ColmError(f"{path} cannot be written: {error.strerror}") from error
    typer.echo(f"wrote {path}")


def up(
    broker: Annotated[str | None, typer.Option(help="amqp://...; default: embedded.")] = None,
    database: Annotated[
        str | None, typer.Option(help="postgresql+psycopg2://...; default: a SQLite file.")
    ] = None,
) -> None:
    """Run all processes on this machine until Ctrl-C; a process that dies is restarted."""
    from colm.workers.cli.site_actions import run_stack

    run_stack(broker, database)


def migrate() -> None:
    """Bring the database to this version's tables."""
    from colm.db.schema import migrate as migrations
    from colm.tasks.config.paths import make_home
    from colm.tasks.config.settings import settings

    config = settings()
    if config.database is None:
        make_home(config.home)
    url = config.database_url
    pending = migrations.pending(url)
    migrations.upgrade(url)
    typer.echo("\n".join(f"applied {name}" for name in pending) or "nothing to do")


def flower(
    port: Annotated[int, typer.Option(min=0, max=65_535)] = 5555,
    address: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    broker_api: Annotated[
        str | None, typer.Option(help="http://user:password@host:15672/api/ for queue lengths.")
    ] = None,
) -> None:
    """Watch tasks and workers in Flower."""
    from colm.workers.cli.site_actions import run_flower

    run_flower(port, address, broker_api)


def doctor(
    broker_only: Annotated[
        bool, typer.Option("--broker-only", help="Skip the database: participants have no access.")
    ] = False,
    participant: Annotated[
        str | None,
        typer.Option(
            "--for",
            metavar="NAME",
            help="Check as this client or server.",
            autocompletion=completion.participants,
        ),
    ] = None,
    models: Annotated[
        bool, typer.Option("--models", help="Load each model; takes time and memory.")
    ] = False,
    deep: Annotated[
        bool,
        typer.Option(
            "--deep", help="Ask every participant a short question; it stays in the record."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Check settings, database, broker, queues, permissions, clocks and models."""
    from colm.workers.doctor.doctor import Scope, run_doctor

    scope = Scope(broker_only=broker_only, participant=participant, models=models, deep=deep)
    raise typer.Exit(run_doctor(scope, as_json=as_json))
