"""`colm coordinator`, `server run`, `client run`: the processes of a site, one a command."""

from __future__ import annotations

from typing import Annotated

import typer

from workers.commands.options import Clients, Servers, Threads


def coordinator() -> None:
    """Run a coordinator: records queries and decides what comes next."""
    from workers.celery_worker import log_to_stderr
    from workers.coordinator import run_coordinator

    log_to_stderr()
    raise typer.Exit(run_coordinator())


def server(
    names: Servers = None,
    threads: Threads = None,
    devices: Annotated[str | None, typer.Option(help="0,1: a process for each GPU.")] = None,
    device: Annotated[str | None, typer.Option(help="Instead of the engine's own setting.")] = None,
) -> None:
    """Run a server worker: one engine for the large model, or one for each device."""
    from workers.devices import cuda_devices, parse_devices, run_together, server_command
    from workers.participant import run_servers

    if devices is None:
        raise typer.Exit(run_servers(names or [], threads, device=device))
    found = parse_devices(devices, cuda_devices())
    raise typer.Exit(run_together([server_command(names or [], threads, d) for d in found]))


def client(
    names: Clients,
    threads: Threads = None,
) -> None:
    """Run a client worker: one engine for one or more clients."""
    from workers.participant import run_clients

    raise typer.Exit(run_clients(names, threads))
