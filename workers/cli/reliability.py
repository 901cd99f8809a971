"""`colm reliability`."""

from __future__ import annotations

from typing import Annotated

import typer

from colm.workers.cli.options import Json


def reliability(
    queries: Annotated[
        int, typer.Option(min=1, max=100_000, help="How many of the latest answered queries count.")
    ] = 500,
    as_json: Json = False,
) -> None:
    """Show each client's delivery, agreement, near-copies and speed, from the record."""
    from colm.workers.cli.reliability_actions import show_reliability

    show_reliability(queries, as_json=as_json)
