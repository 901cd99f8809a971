"""Implementation of `colm ask`: publish, follow the recorded steps, print the answer."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Console
from rich.live import Live
from sqlalchemy import Engine

from colm.db.connection import connect
from colm.db.reads import answers, history
from colm.models.errors import TransientError
from colm.models.messages import Answer
from colm.models.roster import make_request
from colm.tasks import ask
from colm.tasks.config.settings import settings
from colm.workers.cli.query_view import answer_view, progress_table
from colm.workers.console import print_json
from colm.workers.result_wait import raise_if_no_consumer

#: Poll interval of a followed query (seconds).
POLL_EVERY = 0.1


def ask_and_follow(
    engine: Engine,
    question: str,
    options: Mapping[str, Any],
    console: Console,
    *,
    meanwhile: Callable[[], None] = lambda: None,
) -> str:
    """Ask, show the steps live on `console` until the query ends, return its id.

    `meanwhile` is called at every poll. Raises ColmError for an invalid question or without a
    coordinator.
    """
    # An invalid question and an unreadable record raise before anything is published.
    make_request(question, {name: value for name, value in options.items() if name != "images"})
    answers.has_ended(engine, "")
    query_id = str(uuid.uuid4())
    ask.apply_async((question,), dict(options), task_id=query_id)
    try:
        _follow(engine, query_id, console, meanwhile)
    except TransientError as error:
        raise TransientError(f"{error}. {_continues(query_id)}") from error
    except KeyboardInterrupt:
        console.print(_continues(query_id), highlight=False)
        raise
    return query_id


def _continues(query_id: str) -> str:
    return f"Query {query_id} continues: see 'colm show {query_id}'"


def _follow(engine: Engine, query_id: str, console: Console, meanwhile: Callable[[], None]) -> None:
    started = time.monotonic()
    check_at = started + settings().limits.no_consumer_timeout
    # A file gets the last state only.
    with Live(console=console, refresh_per_second=8, transient=True) as live:
        while True:
            meanwhile()
            state = answers.answer_of(engine, query_id)
            if state.status in ("answered", "failed", "refused"):
                break
            if time.monotonic() >= check_at:
                raise_if_no_consumer(state)
                check_at = time.monotonic() + settings().limits.no_consumer_timeout
            polled_at = time.monotonic()
            if state.status != "unknown" and console.is_terminal:
                live.update(_progress(engine, query_id, started))
            # Polling a query of many steps must not take their processor time.
            time.sleep(max(POLL_EVERY, 4 * (time.monotonic() - polled_at)))
    console.print(_progress(engine, query_id, started))


def answer_or_raise(query_id: str) -> Answer:
    """The recorded answer. Raises QueryFailed or InvalidAsk with the reason."""
    return Answer.model_validate(ask.AsyncResult(query_id).get(timeout=60))


def _progress(engine: Engine, query_id: str, started: float) -> Any:
    life = history.query_history(engine, query_id)
    return progress_table(life, time.monotonic() - started) if life else ""


def run_ask(question: str, options: Mapping[str, Any], *, as_json: bool) -> None:
    """Ask, follow on standard error, print the answer on standard output."""
    engine = connect(settings().database_url)
    query_id = ask_and_follow(engine, question, options, Console(stderr=True))
    answer = answer_or_raise(query_id)
    if as_json:
        print_json(answer)
    else:
        Console().print(answer_view(answer))
