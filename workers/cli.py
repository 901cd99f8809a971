"""The `colm` command. Each command wires and starts one thing; what it starts is elsewhere."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from models.errors import ColmError

app = typer.Typer(
    name="colm",
    help="Many small language models share a few large ones, through a message queue.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
errors = Console(stderr=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
Threads = Annotated[
    int | None, typer.Option(min=1, help="CPU threads of the engine, before its own setting.")
]


def main() -> None:
    """Run the command line; an error of ours is one line that says what to do, exit status 1."""
    try:
        app()
    except ColmError as error:
        told = f"[bold red]{type(error).__name__}:[/] {escape(str(error))}"
        errors.print(told, highlight=False, soft_wrap=True)
        sys.exit(1)


@app.command()
def demo(
    question: Annotated[str, typer.Argument(help="What to ask.")] = (
        "Why does ice float on water?"
    ),
    rounds: Annotated[int, typer.Option(min=1, max=8)] = 1,
) -> None:
    """Bring up the embedded stack, ask one question, show everything, and stop."""
    from workers.demo import run_demo

    run_demo(question, rounds)


@app.command()
def init(
    path: Annotated[Path, typer.Argument(help="Where to write it.")] = Path("colm.toml"),
) -> None:
    """Write a commented colm.toml with every default."""
    from workers.initial import TEMPLATE

    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(TEMPLATE)
    except FileExistsError:
        raise ColmError(f"{path} exists already; it was left as it is") from None
    except OSError as error:
        raise ColmError(f"{path} cannot be written: {error.strerror}") from error
    typer.echo(f"wrote {path}")


@app.command()
def up(
    broker: Annotated[str | None, typer.Option(help="amqp://...; default: embedded.")] = None,
    database: Annotated[
        str | None, typer.Option(help="postgresql+psycopg2://...; default: a SQLite file.")
    ] = None,
) -> None:
    """Run everything on this machine until Ctrl-C; a process that dies is started again."""
    from workers.up import run_stack

    run_stack(broker, database)


@app.command()
def ask(
    question: Annotated[str, typer.Argument(help="What to ask; '-' reads standard input.")],
    strategy: Annotated[str, typer.Option(help="colm or single.")] = "colm",
    client: Annotated[
        list[str] | None, typer.Option(help="A client to ask; repeat for more. Default: all.")
    ] = None,
    server: Annotated[str | None, typer.Option(help="The server to ask.")] = None,
    rounds: Annotated[int | None, typer.Option(help="Rounds of guidance.")] = None,
    select: Annotated[int | None, typer.Option(help="Let the server select k clients.")] = None,
    seed: Annotated[int | None, typer.Option(help="Makes every draw repeatable.")] = None,
    max_new_tokens: Annotated[int | None, typer.Option(help="Per completion.")] = None,
    deadline: Annotated[float | None, typer.Option(help="Seconds for the whole query.")] = None,
    option: Annotated[
        list[str] | None, typer.Option("--option", "-o", help="Any other, as name=value.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Ask a question and follow it to its answer."""
    from workers.ask_command import run_ask

    given = {
        "strategy": strategy,
        "clients": client or None,
        "server": server,
        "rounds": rounds,
        "select": select,
        "seed": seed,
        "max_new_tokens": max_new_tokens,
        "deadline": deadline,
        **_pairs(option or []),
    }
    text = _standard_input() if question == "-" else question
    run_ask(text, {k: v for k, v in given.items() if v is not None}, as_json=as_json)


@app.command()
def show(
    query: Annotated[str, typer.Argument(help="A query id, or the beginning of one.")],
    as_json: Json = False,
    prompts: Annotated[bool, typer.Option(help="Print every prompt in full.")] = False,
) -> None:
    """Print the whole life of a query."""
    from workers.reading import show_query

    show_query(query, as_json=as_json, prompts=prompts)


@app.command()
def queries(
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 20,
    status: Annotated[str | None, typer.Option(help="open, answered, failed or refused.")] = None,
    as_json: Json = False,
) -> None:
    """List the latest queries."""
    from workers.reading import list_queries

    list_queries(limit, status, as_json=as_json)


@app.command()
def dead(
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 20, as_json: Json = False
) -> None:
    """List the latest dead letters: messages given up on, with the reason."""
    from workers.reading import list_dead_letters

    list_dead_letters(limit, as_json=as_json)


@app.command()
def coordinator() -> None:
    """Run a coordinator: records queries and decides what comes next."""
    from workers.celery_worker import log_to_stderr
    from workers.coordinator import run_coordinator

    log_to_stderr()
    raise typer.Exit(run_coordinator())


@app.command()
def server(
    names: Annotated[list[str] | None, typer.Argument(help="Server pools; default: all.")] = None,
    threads: Threads = None,
    devices: Annotated[str | None, typer.Option(help="0,1: a process for each GPU.")] = None,
    device: Annotated[str | None, typer.Option(help="Instead of the engine's own setting.")] = None,
) -> None:
    """Run a server worker: one engine for the large model, or one for each device."""
    from workers.devices import cuda_devices, parse_devices, run_together, server_command
    from workers.participant import run_servers

    if devices is None:
        raise typer.Exit(run_servers(names or [], threads, device=device))
    found = parse_devices(devices, cuda_devices())
    raise typer.Exit(run_together([server_command(names or [], threads, d) for d in found]))


@app.command()
def client(
    names: Annotated[list[str], typer.Argument(help="The clients this process serves.")],
    threads: Threads = None,
) -> None:
    """Run a client worker: one engine for one or more clients."""
    from workers.participant import run_clients

    raise typer.Exit(run_clients(names, threads))


@app.command()
def migrate() -> None:
    """Bring the database to this version's tables."""
    from db import migrate as migrations
    from tasks.settings import settings

    url = settings().database_url
    pending = migrations.pending(url)
    migrations.upgrade(url)
    typer.echo("\n".join(f"applied {name}" for name in pending) or "nothing to do")


@app.command()
def flower(
    port: Annotated[int, typer.Option(min=0, max=65_535)] = 5555,
    address: Annotated[str, typer.Option(help="Where to listen.")] = "127.0.0.1",
    broker_api: Annotated[
        str | None, typer.Option(help="http://user:password@host:15672/api/ for queue lengths.")
    ] = None,
) -> None:
    """Watch tasks and workers in Flower."""
    from workers.flower import run_flower

    run_flower(port, address, broker_api)


@app.command()
def doctor(
    broker_only: Annotated[
        bool, typer.Option("--broker-only", help="Leave out the database: participants have none.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Check settings, database, broker and queues; say what to do about each finding."""
    from workers.doctor import run_doctor

    raise typer.Exit(run_doctor(broker_only=broker_only, as_json=as_json))


def _standard_input() -> str:
    try:
        return sys.stdin.read()
    except UnicodeDecodeError as error:
        raise ColmError(f"standard input is not text in UTF-8: {error.reason}") from error


def _pairs(options: list[str]) -> dict[str, Any]:
    """name=value as JSON where it is JSON, as text where it is not."""
    pairs: dict[str, Any] = {}
    for option in options:
        name, equals, text = option.partition("=")
        if not equals:
            raise ColmError(f"--option {option!r} is not of the form name=value")
        try:
            pairs[name] = json.loads(text)
        except ValueError:
            pairs[name] = text
    return pairs
