"""The units of a run that are done, and which queries have ended.

A unit is committed once, whoever does it, so that two evaluators at work on one run for a moment
cost nothing but work. All may raise TransientError.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple

from sqlalchemy import Engine, select

from colm.db.connection import autocommit, transaction
from colm.db.schema.run_tables import once, units

#: What the grader says; unparsable: it found no answer in the text; error: it could not do its
#: work; failed: the query ended without an answer.
UnitStatus = Literal["correct", "wrong", "unparsable", "error", "failed"]


class UnitKey(NamedTuple):
    """What names a unit within its run."""

    entry: str
    example: str
    seed: int


@dataclass(frozen=True, kw_only=True)
class Unit:
    """What came of one strategy on one example under one seed."""

    entry: str
    example: str
    seed: int
    query_id: str
    at: datetime
    status: UnitStatus
    #: What the grader took for the answer.
    extracted: str | None
    #: Why it is not right, where there is something to say.
    reason: str | None
    #: Grades by client: {"ada": {"draft": "wrong", "refined": "correct"}}; None without a text.
    clients: dict[str, Any]
    detail: dict[str, Any]
    prompt_tokens: int
    completion_tokens: int
    #: The cost ledger of the query, as if nothing had been shared.
    ledger: list[Any]
    #: From the ask to the answer, beside everything else that ran then.
    seconds: float

    @property
    def key(self) -> UnitKey:
        return UnitKey(self.entry, self.example, self.seed)


def add_unit(engine: Engine, run: str, unit: Unit) -> bool:
    """Commit a unit that is done; False if it was committed before."""
    with transaction(engine) as connection:
        row = {"run": run, **asdict(unit)}
        return connection.execute(once(connection, units), row).rowcount == 1


def done_units(engine: Engine, run: str) -> set[UnitKey]:
    """Which units of the run are done."""
    named = select(units.c.entry, units.c.example, units.c.seed).where(units.c.run == run)
    with autocommit(engine) as connection:
        return {UnitKey(*row) for row in connection.execute(named)}


def units_of(engine: Engine, run: str) -> list[Unit]:
    """Every unit of the run that is done, in the order of example, seed and entry."""
    columns = [column for column in units.c if column.name != "run"]
    found = select(*columns).where(units.c.run == run)
    found = found.order_by(units.c.example, units.c.seed, units.c.entry)
    with autocommit(engine) as connection:
        return [Unit(**row._mapping) for row in connection.execute(found)]
