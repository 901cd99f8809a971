"""`colm ask`, `show`, `queries`, `cancel`, `replay`, `reliability`."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer

from colm.models.errors import ColmError
from colm.workers.cli import completion
from colm.workers.cli.options import Json, Query


def ask(
    question: Annotated[str, typer.Argument(help="What to ask; '-' reads standard input.")],
    strategy: Annotated[
        str,
        typer.Option(
            help="colm, cope, vote, moa, single, ...", autocompletion=completion.strategies
        ),
    ] = "colm",
    client: Annotated[
        list[str] | None,
        typer.Option(
            help="A client to ask; repeat for more. Default: all.",
            autocompletion=completion.clients,
        ),
    ] = None,
    server: Annotated[
        str | None, typer.Option(help="The server to ask.", autocompletion=completion.servers)
    ] = None,
    rounds: Annotated[int | None, typer.Option(help="Rounds of guidance.")] = None,
    select: Annotated[
        int | None, typer.Option(help="The server selects this many clients.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Makes sampling repeatable.")] = None,
    max_new_tokens: Annotated[int | None, typer.Option(help="Limit of each completion.")] = None,
    deadline: Annotated[float | None, typer.Option(help="Seconds for the whole query.")] = None,
    image: Annotated[
        list[str] | None, typer.Option(help="An image file for the question; repeat for more.")
    ] = None,
    option: Annotated[
        list[str] | None, typer.Option("--option", "-o", help="Any other option, as name=value.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Ask a question and follow it to its answer."""
    from colm.workers.cli.ask_actions import run_ask

    options = {
        "strategy": strategy,
        "clients": client or None,
        "server": server,
        "rounds": rounds,
        "select": select,
        "seed": seed,
        "max_new_tokens": max_new_tokens,
        "deadline": deadline,
        "images": image or None,
        **_pairs(option or []),
    }
    text = _standard_input() if question == "-" else question
    run_ask(text, {k: v for k, v in options.items() if v is not None}, as_json=as_json)


def show(
    query: Query,
    as_json: Json = False,
    prompts: Annotated[bool, typer.Option(help="Print every prompt in full.")] = False,
) -> None:
    """Print the recorded history of a query."""
    from colm.workers.cli.query_actions import show_query

    show_query(query, as_json=as_json, prompts=prompts)


def queries(
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 20,
    status: Annotated[
        str | None,
        typer.Option(help="open, answered, failed or refused.", autocompletion=completion.statuses),
    ] = None,
    as_json: Json = False,
) -> None:
    """List the latest queries."""
    from colm.workers.cli.query_actions import list_queries

    list_queries(limit, status, as_json=as_json)


def cancel(
    query: Query,
    reason: Annotated[str, typer.Option(help="Recorded, and part of the caller's error.")] = "",
) -> None:
    """End a query as failed and stop its running steps."""
    from colm.workers.cli.query_actions import run_cancel

    typer.echo(run_cancel(query, reason))


def replay(
    query: Query,
    decisions_only: Annotated[
        bool, typer.Option("--decisions-only", help="Only decide again; loads no model.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Decide and generate a recorded query again, and compare with the record."""
    from colm.workers.cli.replay_actions import run_replay
    from colm.workers.engine_loader import load_engine

    raise typer.Exit(run_replay(query, load_engine, decisions_only=decisions_only, as_json=as_json))


def reliability(
    queries: Annotated[
        int, typer.Option(min=1, max=100_000, help="How many of the latest answered queries count.")
    ] = 500,
    as_json: Json = False,
) -> None:
    """Show each client's delivery, agreement, near-copies and speed, from the record."""
    from colm.workers.cli.reliability_actions import show_reliability

    show_reliability(queries, as_json=as_json)


def _standard_input() -> str:
    try:
        return sys.stdin.read()
    except UnicodeDecodeError as error:
        raise ColmError(f"standard input is not text in UTF-8: {error.reason}") from error


def _pairs(options: list[str]) -> dict[str, Any]:
    """Parses name=value options. A value that is not JSON is text."""
    pairs: dict[str, Any] = {}
    for option in options:
        name, equals, text = option.partition("=")
        if not equals:
            raise ColmError(f"--option {option!r} must be name=value")
        try:
            pairs[name] = json.loads(text)
        except ValueError:
            pairs[name] = text
    return pairs
