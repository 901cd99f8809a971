"""`colm cancel`: end a query before its time."""

from __future__ import annotations

from typing import Annotated

import typer

from workers.commands.options import Query


def cancel(
    query: Query,
    reason: Annotated[str, typer.Option(help="Recorded, and told to whoever waits.")] = "",
) -> None:
    """End a query as failed and stop what is generated for it."""
    from workers.cancelling import run_cancel

    typer.echo(run_cancel(query, reason))
