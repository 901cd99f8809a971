"""`colm coordinator`, `server run`, `client run`, `images`: the processes of a site."""

from __future__ import annotations

from typing import Annotated

import typer

from colm.workers.cli.options import Clients, Servers, Threads


def coordinator() -> None:
    """Run a coordinator: records queries and sends their next steps."""
    from colm.workers.coordinator.process import run_coordinator
    from colm.workers.process_log import log_to_stderr

    log_to_stderr()
    raise typer.Exit(run_coordinator())


def server(
    names: Servers = None,
    threads: Threads = None,
    devices: Annotated[
        str | None, typer.Option(help="GPU ids, as in 0,1: one process for each.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="Overrides the engine's setting.")] = None,
) -> None:
    """Run a server worker: one engine for the large model, or one for each device."""
    from colm.workers.participant.devices import cuda_devices, parse_devices, server_command
    from colm.workers.participant.process import run_servers
    from colm.workers.supervisor import run_process_group

    if devices is None:
        raise typer.Exit(run_servers(names or [], threads, device=device))
    device_ids = parse_devices(devices, cuda_devices())
    raise typer.Exit(
        run_process_group([server_command(names or [], threads, d) for d in device_ids])
    )


def client(names: Clients, threads: Threads = None) -> None:
    """Run a client worker: one engine for one or more clients."""
    from colm.workers.participant.process import run_clients

    raise typer.Exit(run_clients(names, threads))


def images(
    port: Annotated[int, typer.Option(min=0, max=65_535)] = 8700,
    address: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
) -> None:
    """Run the image server: stores the site's images, and serves them for tokens."""
    from colm.workers.image_server import run_image_server
    from colm.workers.process_log import log_to_stderr

    log_to_stderr()
    raise typer.Exit(run_image_server(address, port))
