"""`colm images`: the image store of a site of several machines."""

from __future__ import annotations

from typing import Annotated

import typer


def images(
    port: Annotated[int, typer.Option(min=0, max=65_535)] = 8700,
    address: Annotated[str, typer.Option(help="Where to listen.")] = "127.0.0.1",
) -> None:
    """Keep the site's images, and give them out for tokens."""
    from workers.celery_worker import log_to_stderr
    from workers.image_server import run_image_server

    log_to_stderr()
    raise typer.Exit(run_image_server(address, port))
