"""`colm demo`: the whole of CoLM on one question, on this machine, with a real model."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import time
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from colm.db.connection import connect
from colm.tasks.config.settings import new_stack_settings
from colm.workers.cli.ask_actions import answer_or_raise, ask_and_follow
from colm.workers.cli.query_view import answer_view
from colm.workers.local_stack.stack import Stack

#: Keeps the demo short on two slow cores.
MAX_NEW_TOKENS = 112


def run_demo(question: str, rounds: int) -> None:
    """Stack up, question through `tasks.ask.delay`, answer shown, stack down."""
    console = Console()
    logging.basicConfig(level=logging.WARNING)
    found = new_stack_settings()
    started = time.monotonic()
    console.rule("[bold]CoLM[/]: small models share a large one", style="dim")
    console.print(
        f"bringing up a broker, a coordinator, {len(found.servers)} server and "
        f"{len(found.clients)} clients (logs in {escape(str(found.home / 'logs'))})"
    )
    with Stack(settings=found, tell=partial(console.print, markup=False)) as stack:
        with console.status("waiting for every queue to have a reader"):
            stack.wait_until_ready()
        console.print(f"ready after {time.monotonic() - started:.1f} s")
        console.print(f'\n[bold]tasks.ask.delay[/]("{escape(question)}", rounds={rounds})\n')
        query_id = ask_and_follow(
            connect(found.database_url),
            question,
            {"rounds": rounds, "max_new_tokens": MAX_NEW_TOKENS, "seed": 7},
            console,
            meanwhile=stack.watch,
        )
        console.print(answer_view(answer_or_raise(query_id)))
    console.rule(style="dim")
    console.print(f"stopped after {time.monotonic() - started:.1f} s. Look further:")
    console.print(_further(query_id))


def _further(query_id: str) -> Table:
    colm = _this_command()
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    for command, what in (
        (f"{colm} show {query_id[:8]} --prompts", "the whole life of this query"),
        (f"{colm} queries", "every query in the record"),
        (f"{colm} up", "keep the stack running; ask.delay() from any shell"),
        (f"{colm} ask 'your question'", "ask it, while the stack runs"),
        (f"{colm} init", "write colm.toml: your own clients and models"),
    ):
        table.add_row(f"  [bold]{escape(command)}[/]", what)
    return table


def _this_command() -> str:
    """How this program was called, as short as it can be typed here."""
    called = Path(sys.argv[0])
    if called.name != "colm":
        return "colm"
    on_path = shutil.which("colm")
    if on_path is not None and Path(on_path).samefile(called):
        return "colm"
    here = os.path.relpath(called)
    return "colm" if here.startswith("..") else here
