"""`colm replay`: a recorded query once more, step by step."""

from __future__ import annotations

from typing import Annotated

import typer

from workers.commands.options import Json, Query


def replay(
    query: Query,
    decisions_only: Annotated[
        bool, typer.Option("--decisions-only", help="Load no model: decide again, and no more.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Decide and generate a recorded query again; say what is equal and what is not."""
    from workers.participant import load_engine
    from workers.replay_command import run_replay

    raise typer.Exit(run_replay(query, load_engine, decisions_only=decisions_only, as_json=as_json))
