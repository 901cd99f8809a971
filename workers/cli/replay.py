"""`colm replay`."""

from __future__ import annotations

from typing import Annotated

import typer

from colm.workers.cli.options import Json, Query


def replay(
    query: Query,
    decisions_only: Annotated[
        bool, typer.Option("--decisions-only", help="Only decide again; loads no model.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Decide and generate a recorded query again, and compare with the record."""
    from colm.workers.cli.replay_actions import run_replay
    from colm.workers.participant.process import load_engine

    raise typer.Exit(run_replay(query, load_engine, decisions_only=decisions_only, as_json=as_json))
