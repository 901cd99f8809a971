"""`colm tune`: an adapter for a participant's model, tuned on its own data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from colm.workers.cli import completion
from colm.workers.cli.options import Json


def tune(
    name: Annotated[
        str,
        typer.Argument(
            help="The client or server whose model is tuned.",
            autocompletion=completion.participants,
        ),
    ],
    data: Annotated[
        str, typer.Option(help="Questions with answers: a data set as in 'colm evaluate'.")
    ],
    adapter: Annotated[
        Path | None, typer.Option(help="Folder for the adapter; default: adapters/NAME in home.")
    ] = None,
    notes: Annotated[
        bool,
        typer.Option("--notes", help="Add examples that teach the client to read a server's note."),
    ] = False,
    steps: Annotated[int | None, typer.Option(min=1, help="Optimizer steps at most.")] = None,
    rank: Annotated[int | None, typer.Option(min=1, max=256, help="Rank of the adapter.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Examples in a step.")] = None,
    max_tokens: Annotated[
        int | None, typer.Option(min=8, help="Leave out examples with more tokens.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the tuning.")] = None,
    as_json: Json = False,
) -> None:
    """Tune a LoRA adapter for a participant's model on this machine."""
    from colm.workers.tuner.tune import run_tune

    changes = {
        "max_steps": steps,
        "rank": rank,
        "alpha": None if rank is None else 2 * rank,
        "learning_rate": learning_rate,
        "batch_size": batch_size,
        "max_tokens": max_tokens,
        "seed": seed,
    }
    set_changes = {key: value for key, value in changes.items() if value is not None}
    raise typer.Exit(run_tune(name, data, adapter, set_changes, notes=notes, as_json=as_json))
