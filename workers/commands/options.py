"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
Threads = Annotated[
    int | None, typer.Option(min=1, help="CPU threads of the engine, before its own setting.")
]
