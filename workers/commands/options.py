"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

from workers.commands import completing

Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
Query = Annotated[
    str,
    typer.Argument(help="A query id, or the beginning of one.", autocompletion=completing.queries),
]
Run = Annotated[
    str,
    typer.Argument(help="A run's name, or the beginning of one.", autocompletion=completing.runs),
]
Clients = Annotated[
    list[str],
    typer.Argument(help="The clients this process serves.", autocompletion=completing.clients),
]
Servers = Annotated[
    list[str] | None,
    typer.Argument(help="Server pools; default: all.", autocompletion=completing.servers),
]
Threads = Annotated[
    int | None, typer.Option(min=1, help="CPU threads of the engine, before its own setting.")
]
