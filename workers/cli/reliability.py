"""`colm reliability`: how far each client can be relied upon."""

from __future__ import annotations

from typing import Annotated

import typer

from colm.workers.cli.options import Json


def reliability(
    queries: Annotated[
        int, typer.Option(min=1, max=100_000, help="The latest answered queries to look at.")
    ] = 500,
    as_json: Json = False,
) -> None:
    """Say what the record tells of each client: delivery, agreement, near-copies, speed."""
    from colm.workers.cli.reliability_actions import show_reliability

    show_reliability(queries, as_json=as_json)
