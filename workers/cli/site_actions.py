"""Implementation of `colm up` and `colm flower`."""

from __future__ import annotations

import contextlib
import logging
from functools import partial
from typing import Any

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.table import Table

from colm.models.errors import ColmError, SettingsError
from colm.models.urls import check_http
from colm.tasks.celery_app import app
from colm.tasks.config.settings import new_stack_settings, override, remove_service_links
from colm.workers.local_stack.stack import Stack
from colm.workers.supervisor import stop_event
from colm.workers.tcp_port import check_port_free

#: Poll interval of the child processes (seconds).
POLL_EVERY = 0.25


def run_stack(broker: str | None, database: str | None) -> None:
    """Run everything until Ctrl-C or SIGTERM."""
    override(broker=broker, database=database)
    logging.basicConfig(level=logging.WARNING)
    console = Console()
    stop = stop_event()
    with Stack(settings=new_stack_settings(), tell=partial(_say, console, markup=False)) as stack:
        _say(console, _running(stack))
        with _waiting(console, "waiting for a consumer on every queue"):
            stack.wait_until_ready(stopped=stop.is_set)
        if not stop.is_set():
            _say(console, "ready: [bold]colm ask 'your question'[/] from any shell; Ctrl-C stops")
        while not stop.wait(POLL_EVERY):
            stack.watch()
        _say(console, "stopping")
    _say(console, "stopped")


def _say(console: Console, what: RenderableType, **how: Any) -> None:
    """Prints where possible: a full disk behind standard output does not end the stack."""
    with contextlib.suppress(OSError):
        console.print(what, **how)


def _waiting(console: Console, why: str) -> contextlib.AbstractContextManager[object]:
    return console.status(why) if console.is_terminal else contextlib.nullcontext()


def _running(stack: Stack) -> Table:
    config = stack.settings
    table = Table(box=None, header_style="bold")
    for name in ("process", "pid", "log"):
        table.add_column(name)
    if stack.broker is not None:
        table.add_row(
            "broker (embedded)", str(stack.broker.pid), escape(str(stack.broker.log_path))
        )
    for child in stack.children:
        pid = child.process.pid if child.process else ""
        table.add_row(child.name, str(pid), escape(str(child.log_path)))
    table.caption = f"record in {escape(config.shown_database)}"
    return table


def run_flower(port: int, address: str, broker_api: str | None) -> None:
    """Serve Flower until it is stopped. Raises ColmError if it cannot start.

    /metrics and /healthcheck need no password: listen on loopback or use an authenticating proxy.
    """
    remove_service_links("FLOWER_")
    check_port_free(address, port)
    arguments = ["flower", f"--port={port}", f"--address={address}", "--max_tasks=20000"]
    # Flower's default columns lack kwargs.
    arguments.append("--tasks_columns=name,state,kwargs,result,received,runtime,worker")
    if broker_api:
        try:
            check_http(broker_api)
        except ValueError as error:
            raise SettingsError(f"--broker-api: {error}") from None
        arguments.append(f"--broker_api={broker_api}")
    try:
        app.start(arguments)
    except (ValueError, OSError) as error:  # of its own variables, FLOWER_PORT and the like
        raise ColmError(f"Flower cannot be started: {error}") from error
