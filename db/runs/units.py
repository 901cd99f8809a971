"""Completed units of a run. All may raise TransientError.

A unit is committed once, even by two evaluators.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple

from sqlalchemy import Engine, select

from colm.db.connection import autocommit, transaction
from colm.db.record.upserts import insert_new
from colm.db.schema.run_tables import units

#: unparsable: no answer in the text; error: the grader failed; failed: the query failed.
UnitStatus = Literal["correct", "wrong", "unparsable", "error", "failed"]


class UnitKey(NamedTuple):
    """Key of a unit within its run."""

    entry: str
    example: str
    seed: int


@dataclass(frozen=True, kw_only=True)
class Unit:
    """Result of one strategy on one example under one seed."""

    entry: str
    example: str
    seed: int
    query_id: str
    at: datetime
    status: UnitStatus
    #: The answer that the grader extracted.
    extracted: str | None
    reason: str | None
    #: Grades by client: {"ada": {"draft": "wrong", "refined": "correct"}}; None without a text.
    clients: dict[str, Any]
    detail: dict[str, Any]
    prompt_tokens: int
    completion_tokens: int
    #: The cost ledger of the query; shared steps count in full.
    ledger: list[Any]
    #: From question to answer, under the load of the run.
    seconds: float

    @property
    def key(self) -> UnitKey:
        return UnitKey(self.entry, self.example, self.seed)


def add_unit(engine: Engine, run: str, unit: Unit) -> bool:
    """Commit a completed unit. False if it was committed before."""
    with transaction(engine) as connection:
        return insert_new(connection, units, {"run": run, **asdict(unit)})


def completed_units(engine: Engine, run: str) -> set[UnitKey]:
    """Keys of the completed units."""
    named = select(units.c.entry, units.c.example, units.c.seed).where(units.c.run == run)
    with autocommit(engine) as connection:
        return {UnitKey(*row) for row in connection.execute(named)}


def units_of(engine: Engine, run: str) -> list[Unit]:
    """The completed units, by example, seed and entry."""
    columns = [column for column in units.c if column.name != "run"]
    statement = select(*columns).where(units.c.run == run)
    statement = statement.order_by(units.c.example, units.c.seed, units.c.entry)
    with autocommit(engine) as connection:
        return [Unit(**row._mapping) for row in connection.execute(statement)]
