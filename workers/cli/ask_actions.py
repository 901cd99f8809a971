"""Asking from a terminal: publish, follow the steps as they are recorded, return the answer."""

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
from colm.workers.result_backend import raise_if_no_consumer

#: How often a watched query is looked at (seconds).
LOOK_EVERY = 0.1


def ask_and_follow(
    engine: Engine,
    question: str,
    options: Mapping[str, Any],
    console: Console,
    *,
    meanwhile: Callable[[], None] = lambda: None,
) -> str:
    """Ask, show the steps live on `console` until the query has ended; returns the query's id.

    Raises ColmError where the question is unusable or nobody listens. `meanwhile` is called with
    every look.
    """
    # What cannot be asked, and a record that cannot be read, are told of before anything is sent.
    make_request(question, {name: said for name, said in options.items() if name != "images"})
    answers.has_ended(engine, "")
    query_id = str(uuid.uuid4())
    ask.apply_async((question,), dict(options), task_id=query_id)
    try:
        _follow(engine, query_id, console, meanwhile)
    except TransientError as error:
        raise TransientError(f"{error}. {_goes_on(query_id)}") from error
    except KeyboardInterrupt:
        console.print(_goes_on(query_id), highlight=False)
        raise
    return query_id


def _goes_on(query_id: str) -> str:
    return f"Query {query_id} goes on: 'colm show {query_id}' tells how"


def _follow(engine: Engine, query_id: str, console: Console, meanwhile: Callable[[], None]) -> None:
    started = time.monotonic()
    check_at = started + settings().limits.no_consumer_timeout
    # Where output is kept in a file a live picture would be a mess; there the last one is enough.
    with Live(console=console, refresh_per_second=8, transient=True) as live:
        while True:
            meanwhile()
            standing = answers.answer_of(engine, query_id)
            if standing.status in ("answered", "failed", "refused"):
                break
            if time.monotonic() >= check_at:
                raise_if_no_consumer(standing)
                check_at = time.monotonic() + settings().limits.no_consumer_timeout
            looked = time.monotonic()
            if standing.status != "unknown" and console.is_terminal:
                live.update(_picture(engine, query_id, started))
            # To look at a query of many steps is not to take what its steps need.
            time.sleep(max(LOOK_EVERY, 4 * (time.monotonic() - looked)))
    console.print(_picture(engine, query_id, started))


def answer_or_raise(query_id: str) -> Answer:
    """The recorded answer. Raises QueryFailed or InvalidAsk with the reason."""
    return Answer.model_validate(ask.AsyncResult(query_id).get(timeout=60))


def _picture(engine: Engine, query_id: str, started: float) -> Any:
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
