"""`colm show`, `colm queries`, `colm dead`: what the record says, for people and for scripts."""

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
    """All that is recorded of a query, or of the one whose id begins so. Raises UnknownQuery."""
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
    known = get_args(answers.Status)
    if status is not None and status not in known:
        raise CallerError(f"there is no status {status!r}{nearest(status, known)}")
    engine = connect(settings().database_url)
    found = answers.recent_queries(engine, limit, status)  # type: ignore[arg-type]  # checked above
    if as_json:
        print_json(found)
    else:
        Console().print(queries_table(found))


def list_dead_letters(limit: int, *, texts: bool, as_json: bool) -> None:
    found = answers.dead_letters(connect(settings().database_url), limit)
    if as_json:
        print_json([_hidden(letter, texts=texts) for letter in found])
    else:
        Console().print(letters_table(found))


def show_dead_letter(message_id: str, *, texts: bool, as_json: bool) -> None:
    """Print a letter of the record. Raises CallerError where there is none of this id."""
    latest = answers.dead_letters(connect(settings().database_url), ABBREVIATED_AMONG)
    found = [letter for letter in latest if letter.message_id == message_id]
    if not found:
        raise CallerError(f"no letter {message_id!r}; 'colm dead recorded' lists them")
    letter = _hidden(found[0], texts=texts)
    if as_json:
        print_json(letter)
        return
    for name, value in asdict(letter).items():
        Console().print(plain(f"{name:>12}  {value}"), soft_wrap=True)


def _hidden(letter: DeadLetter, *, texts: bool) -> DeadLetter:
    return letter if texts else replace(letter, body="hidden; --texts shows it")


#: How long a coordinator may take (seconds), and how often the record is looked at.
WITHIN = 15.0


LOOK_EVERY = 0.05


def run_cancel(query: str, reason: str) -> str:
    """What became of it, in words. Raises UnknownQuery, or NoConsumer where nobody acts on it."""
    engine = connect(settings().database_url)
    query_id = whole_id(engine, query)
    before = answers.answer_of(engine, query_id)
    if before.status == "unknown":
        raise UnknownQuery(
            f"no query {query!r} is in the record; if it was asked just now, try again"
        )
    if before.status != "open":
        return f"query {query_id} had ended already: {before.status}"
    cancel.delay(query_id, reason)
    give_up = time.monotonic() + WITHIN
    while (found := answers.answer_of(engine, query_id)).status == "open":
        if time.monotonic() > give_up:
            raise NoConsumer(
                f"the wish to cancel query {query_id} was sent, but no coordinator has acted on it "
                "yet: start 'colm coordinator'. It is kept, and acted on then"
            )
        time.sleep(LOOK_EVERY)
    return f"query {query_id} has ended: {found.status}" + (
        f", {found.reason}" if found.reason else ""
    )
