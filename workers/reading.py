"""`colm show`, `colm queries`, `colm dead`: what the record says, for people and for scripts."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import get_args

from rich.console import Console
from sqlalchemy import Engine

from db import history, reads
from db.engine import connect
from models.errors import CallerError, UnknownQuery
from models.roster import nearest
from tasks.settings import settings
from workers.printing import print_json
from workers.show import letters_table, life_view, plain, queries_table

#: How many of the latest queries an abbreviated id is looked up in.
ABBREVIATED_AMONG = 10_000


def recorded_life(query: str) -> history.History:
    """All that is recorded of a query, or of the one whose id begins so. Raises UnknownQuery."""
    engine = connect(settings().database_url)
    life = history.query_life(engine, whole_id(engine, query))
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
    known = get_args(reads.Status)
    if status is not None and status not in known:
        raise CallerError(f"there is no status {status!r}{nearest(status, known)}")
    engine = connect(settings().database_url)
    found = reads.recent_queries(engine, limit, status)  # type: ignore[arg-type]  # checked above
    if as_json:
        print_json(found)
    else:
        Console().print(queries_table(found))


def list_dead_letters(limit: int, *, texts: bool, as_json: bool) -> None:
    found = reads.dead_letters(connect(settings().database_url), limit)
    if as_json:
        print_json([_hidden(letter, texts=texts) for letter in found])
    else:
        Console().print(letters_table(found))


def show_dead_letter(message_id: str, *, texts: bool, as_json: bool) -> None:
    """Print a letter of the record. Raises CallerError where there is none of this id."""
    latest = reads.dead_letters(connect(settings().database_url), ABBREVIATED_AMONG)
    found = [letter for letter in latest if letter.message_id == message_id]
    if not found:
        raise CallerError(f"no letter {message_id!r}; 'colm dead recorded' lists them")
    letter = _hidden(found[0], texts=texts)
    if as_json:
        print_json(letter)
        return
    for name, value in asdict(letter).items():
        Console().print(plain(f"{name:>12}  {value}"), soft_wrap=True)


def _hidden(letter: reads.StoredLetter, *, texts: bool) -> reads.StoredLetter:
    return letter if texts else replace(letter, body="hidden; --texts shows it")


def whole_id(engine: Engine, query: str) -> str:
    """The id that `query` begins; raises UnknownQuery when none or several do."""
    if reads.answer_of(engine, query).status != "unknown":
        return query
    latest = reads.recent_queries(engine, ABBREVIATED_AMONG)
    found = [s.query_id for s in latest if s.query_id.startswith(query)]
    if len(found) == 1:
        return found[0]
    problem = f"{len(found)} queries begin with" if found else "no query begins with"
    raise UnknownQuery(f"{problem} {query!r}; 'colm queries' lists them")
