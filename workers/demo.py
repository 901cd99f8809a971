"""`colm demo`: the whole of CoLM on one question, on this machine, with a real model."""

from __future__ import annotations

import logging
import time
from functools import partial

from rich.console import Console
from rich.markup import escape

from db.engine import connect
from tasks.settings import settings
from workers.asking import answer_or_raise, ask_and_follow
from workers.show import answer_view
from workers.stack import Stack

#: Keeps the demo short on two slow cores.
MAX_NEW_TOKENS = 96


def run_demo(question: str, rounds: int) -> None:
    """Stack up, question through `tasks.ask.delay`, answer shown, stack down."""
    console = Console()
    logging.basicConfig(level=logging.WARNING)
    found = settings()
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
    console.print(
        f"stopped after {time.monotonic() - started:.1f} s. Look further:\n"
        f"  colm show {query_id[:8]} --prompts   the whole life of this query\n"
        "  colm queries                     every query in the record\n"
        "  colm up, then colm ask '...'     keep the stack running; ask.delay() from any shell\n"
        "  colm init                        write colm.toml: your own clients and models",
        highlight=False,
    )
