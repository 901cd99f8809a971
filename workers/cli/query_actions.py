"""Implementation of `colm show`, `queries`, `cancel` and `dead recorded`."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from typing import get_args

from rich.console import Console

from colm.db.connection import connect
from colm.db.reads import answers, history
from colm.db.reads.answers import ABBREVIATED_AMONG, whole_id
from colm.models.dead_letter import DeadLetter
from colm.models.errors import CallerError, NoConsumer, UnknownQuery
from colm.models.roster import nearest
from colm.tasks.cancellation import cancel
from colm.tasks.config.settings import settings
from colm.workers.cli.query_view import letters_table, life_view, queries_table
from colm.workers.console import plain, print_json


def recorded_life(query: str) -> history.History:
    """The history of a query, by its id or the beginning of it. Raises UnknownQuery."""
    engine = connect(settings().database_url)
    life = history.query_history(engine, whole_id(engine, query))
    if life is None:
        raise UnknownQuery(f"no query {query!r}")
    return life


def show_query(query: str, *, as_json: bool, prompts: bool) -> None:
    life = recorded_life(query)
    if as_json:
        print_json(life)
        return
    console = Console()
    for part in life_view(life, prompts=prompts):
        console.print(part)


def list_queries(limit: int, status: str | None, *, as_json: bool) -> None:
    statuses = get_args(answers.Status)
    if status is not None and status not in statuses:
        raise CallerError(f"no status {status!r}{nearest(status, statuses)}")
    engine = connect(settings().database_url)
    states = answers.recent_queries(engine, limit, status)  # type: ignore[arg-type]  # checked above
    if as_json:
        print_json(states)
    else:
        Console().print(queries_table(states))


def list_dead_letters(limit: int, *, texts: bool, as_json: bool) -> None:
    letters = answers.dead_letters(connect(settings().database_url), limit)
    if as_json:
        print_json([_hidden(letter, texts=texts) for letter in letters])
    else:
        Console().print(letters_table(letters))


def show_dead_letter(message_id: str, *, texts: bool, as_json: bool) -> None:
    """Print a recorded letter. Raises CallerError for an unknown id."""
    latest = answers.dead_letters(connect(settings().database_url), ABBREVIATED_AMONG)
    letters = [letter for letter in latest if letter.message_id == message_id]
    if not letters:
        raise CallerError(f"no letter {message_id!r}: see 'colm dead recorded'")
    letter = _hidden(letters[0], texts=texts)
    if as_json:
        print_json(letter)
        return
    for name, value in asdict(letter).items():
        Console().print(plain(f"{name:>12}  {value}"), soft_wrap=True)


def _hidden(letter: DeadLetter, *, texts: bool) -> DeadLetter:
    return letter if texts else replace(letter, body="hidden: use --texts")


#: Time limit for a coordinator, and the poll interval (seconds).
WITHIN = 15.0
POLL_EVERY = 0.05


def run_cancel(query: str, reason: str) -> str:
    """The result as text. Raises UnknownQuery, or NoConsumer without a coordinator."""
    engine = connect(settings().database_url)
    query_id = whole_id(engine, query)
    before = answers.answer_of(engine, query_id)
    if before.status == "unknown":
        raise UnknownQuery(f"no query {query!r} is in the record: try again if it was just asked")
    if before.status != "open":
        return f"query {query_id} has already ended: {before.status}"
    cancel.delay(query_id, reason)
    give_up = time.monotonic() + WITHIN
    while (state := answers.answer_of(engine, query_id)).status == "open":
        if time.monotonic() > give_up:
            raise NoConsumer(
                f"query {query_id} is not cancelled yet: no coordinator has read the request. "
                "Start 'colm coordinator', which then cancels it"
            )
        time.sleep(POLL_EVERY)
    return f"query {query_id} has ended: {state.status}" + (
        f", {state.reason}" if state.reason else ""
    )
