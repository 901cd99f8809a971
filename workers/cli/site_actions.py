"""`colm up`."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
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
from colm.workers.ports import check_free

#: How often the children are looked at (seconds).
LOOK_EVERY = 0.25


def run_stack(broker: str | None, database: str | None) -> None:
    """Run everything until Ctrl-C or SIGTERM."""
    override(broker=broker, database=database)
    logging.basicConfig(level=logging.WARNING)
    console = Console()
    stop = threading.Event()
    for sign in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sign, lambda *_: stop.set())
    with Stack(settings=new_stack_settings(), tell=partial(_say, console, markup=False)) as stack:
        _say(console, _running(stack))
        with _waiting(console, "waiting for every queue to have a reader"):
            stack.wait_until_ready(stopped=stop.is_set)
        if not stop.is_set():
            _say(console, "ready: [bold]colm ask 'your question'[/] from any shell; Ctrl-C stops")
        while not stop.wait(LOOK_EVERY):
            stack.watch()
        _say(console, "stopping")
    _say(console, "stopped")


def _say(console: Console, what: RenderableType, **how: Any) -> None:
    """Print it where that is possible: a stack does not end because its output's disk is full."""
    with contextlib.suppress(OSError):
        console.print(what, **how)


def _waiting(console: Console, why: str) -> contextlib.AbstractContextManager[object]:
    return console.status(why) if console.is_terminal else contextlib.nullcontext()


def _running(stack: Stack) -> Table:
    found = stack.settings
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
    table.caption = f"record in {escape(found.shown_database)}"
    return table


def run_flower(port: int, address: str, broker_api: str | None) -> None:
    """Serve Flower until it is stopped. Raises ColmError where it cannot listen or be configured.

    It answers /metrics and /healthcheck without any password: listen on loopback, or put a proxy
    that asks for one before it.
    """
    remove_service_links("FLOWER_")
    check_free(address, port)
    arguments = ["flower", f"--port={port}", f"--address={address}", "--max_tasks=20000"]
    # Flower leaves the arguments out of its list unless they are asked for.
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
