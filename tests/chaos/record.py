"""What must hold of a wave after a fault, asked of the database in plain SQL.

None of the product's own reads is used: a fault of theirs must not hide one of the record. The
database's constraints forbid most of it; here it is seen that they did.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, fields
from typing import Any

import psycopg2

from colm.db.schema.tables import metadata
from tests.chaos.caller import question_of
from tests.provision.postgres import plain

#: Tables whose rows take a place in the order of their query.
ORDERED = [t.name for t in metadata.sorted_tables if {"query_id", "seq"} <= set(t.c.keys())]

_ALL_SEQS = " UNION ALL ".join(f"SELECT query_id, seq FROM {name}" for name in ORDERED)

ENDED = "SELECT count(*) FROM answers WHERE query_id LIKE %s"
RECORDED = "SELECT count(*) FROM queries WHERE query_id LIKE %s"
DECIDED = (
    "SELECT count(*) FROM outcomes JOIN steps USING (step_id)"
    " WHERE outcomes.query_id LIKE %s AND status <> 'late' AND act LIKE %s"
)
UNDISPATCHED = (
    "SELECT count(*) FROM steps WHERE query_id LIKE %s"
    " AND NOT EXISTS (SELECT FROM dispatches d WHERE d.step_id = steps.step_id)"
)
LOST = "SELECT unnest(%s::text[]) EXCEPT SELECT query_id FROM answers"
ENDED_TWICE = (
    "SELECT query_id FROM answers WHERE query_id LIKE %s GROUP BY query_id HAVING count(*) > 1"
)
DECIDED_TWICE = (
    "SELECT step_id FROM outcomes WHERE query_id LIKE %s AND status <> 'late'"
    " GROUP BY step_id HAVING count(*) > 1"
)
#: The strategy asks each participant once for each act of a round.
ASKED_TWICE = (
    "SELECT query_id || act || participant FROM steps WHERE query_id LIKE %s"
    " GROUP BY query_id, round, act, participant HAVING count(*) > 1"
)
GAPS = (
    f"SELECT query_id FROM ({_ALL_SEQS}) AS rows JOIN progress USING (query_id)"
    " WHERE query_id LIKE %s GROUP BY query_id, next_seq"
    " HAVING count(*) <> count(DISTINCT seq) OR min(seq) <> 1 OR max(seq) <> count(*)"
    " OR next_seq <> count(*) + 1"
)
OPEN_STEPS = (
    "SELECT step_id FROM steps WHERE query_id LIKE %s AND query_id IN (SELECT query_id FROM"
    " answers WHERE status = 'answered') AND step_id NOT IN (SELECT step_id FROM outcomes)"
)
DEAD = "SELECT message_id || ': ' || reason FROM dead_letters WHERE at >= %s"
QUESTIONS = "SELECT query_id, question FROM queries WHERE query_id LIKE %s"
#: A draft quotes the question, so a draft of another query shows.
DRAFTS = (
    "SELECT query_id, text FROM outcomes WHERE query_id LIKE %s AND status = 'completed'"
    " AND step_id LIKE '%%.draft.%%'"
)
STATUSES = (
    "SELECT status || CASE WHEN (answer::jsonb ->> 'degraded')::boolean THEN ', degraded' ELSE ''"
    " END, count(*) FROM answers WHERE query_id LIKE %s AND NOT query_id = ANY(%s) GROUP BY 1"
)
OPEN = "SELECT query_id FROM progress WHERE open AND query_id LIKE %s ORDER BY query_id"
STATUS = "SELECT status, reason FROM answers WHERE query_id = %s"
LATE = "SELECT count(*) FROM outcomes WHERE query_id LIKE %s AND status = 'late'"
ANSWERS = "SELECT query_id, answer FROM answers WHERE query_id LIKE %s"
NOW = "SELECT now()"


@dataclass(frozen=True, kw_only=True)
class Wrong:
    """What should not be; every list is empty where the promises were kept."""

    lost: Sequence[str]
    ended_twice: Sequence[str]
    decided_twice: Sequence[str]
    asked_twice: Sequence[str]
    gaps: Sequence[str]
    open_steps: Sequence[str]
    mixed_up: Sequence[str]
    dead_letters: Sequence[str]

    @property
    def recorded_twice(self) -> int:
        return len(self.ended_twice) + len(self.decided_twice) + len(self.asked_twice)

    @property
    def found(self) -> dict[str, list[str]]:
        """The first few of each kind that there are."""
        named = {field.name: list(getattr(self, field.name))[:5] for field in fields(self)}
        return {name: ids for name, ids in named.items() if ids}


class Database:
    """Asks a database over a new connection each time: it may just have been killed."""

    def __init__(self, url: str) -> None:
        self._url = plain(url)

    def rows(self, statement: str, *values: object) -> list[Any]:
        with (
            closing(psycopg2.connect(self._url, connect_timeout=5)) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(statement, values)
            return cursor.fetchall()

    def run(self, statement: str) -> None:
        """Run a statement and commit."""
        with (
            closing(psycopg2.connect(self._url, connect_timeout=5)) as connection,
            connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(statement)

    def do(self, statement: str) -> None:
        """Run a statement that may not be in a transaction, even where all are read-only."""
        options = "-c default_transaction_read_only=off"
        with closing(psycopg2.connect(self._url, connect_timeout=5, options=options)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)

    def count(self, statement: str, prefix: str) -> int:
        return int(self.rows(statement, f"{prefix}%")[0][0])

    def decided(self, prefix: str, *, act: str = "%") -> int:
        """Steps of a wave that have an outcome which decides."""
        return int(self.rows(DECIDED, f"{prefix}%", act)[0][0])

    def wrong(self, prefix: str, accepted: Sequence[str], since: object) -> Wrong:
        """Everything that should not be of this wave; dead letters since a time of `NOW`."""
        of_wave = f"{prefix}%"

        def ids(statement: str, value: object = of_wave) -> list[str]:
            return [str(row[0]) for row in self.rows(statement, value)]

        return Wrong(
            lost=ids(LOST, list(accepted)),
            ended_twice=ids(ENDED_TWICE),
            decided_twice=ids(DECIDED_TWICE),
            asked_twice=ids(ASKED_TWICE),
            gaps=ids(GAPS),
            open_steps=ids(OPEN_STEPS),
            mixed_up=[
                *(i for i, text in self.rows(QUESTIONS, of_wave) if text != question_of(i)),
                *(
                    i
                    for i, text in self.rows(DRAFTS, of_wave)
                    if question_of(i) not in (text or "")
                ),
            ],
            dead_letters=ids(DEAD, since),
        )
