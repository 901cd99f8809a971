"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

from colm.workers.cli import completion

Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
Query = Annotated[
    str, typer.Argument(help="A query id or its beginning.", autocompletion=completion.queries)
]
Run = Annotated[
    str, typer.Argument(help="A run's name or its beginning.", autocompletion=completion.runs)
]
Clients = Annotated[
    list[str],
    typer.Argument(help="The clients of this process.", autocompletion=completion.clients),
]
Servers = Annotated[
    list[str] | None,
    typer.Argument(help="Server pools; default: all.", autocompletion=completion.servers),
]
Threads = Annotated[
    int | None, typer.Option(min=1, help="CPU threads; overrides the engine's setting.")
]
