"""How far a run is, what it cost, and what sharing saved. All may raise TransientError."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, case, func, select

from colm.db.connection import snapshot
from colm.db.schema.run_tables import shared_steps, units
from colm.db.schema.tables import outcomes

#: How the worker of an outcome begins that was handed on from an equal step.
SHARED_WITH = "shared with "
#: Over how long the pace of a run is taken.
RECENT = timedelta(minutes=10)


@dataclass(frozen=True, kw_only=True)
class EntryProgress:
    """What is done of one entry of a run."""

    entry: str
    done: int
    correct: int
    unparsable: int
    #: Without a verdict: the query failed, or the grader did.
    failed: int
    prompt_tokens: int
    completion_tokens: int
    #: The mean, from ask to answer.
    seconds: float

    @property
    def accuracy(self) -> float | None:
        """The share of right answers among all that are done: no answer is a wrong one."""
        return self.correct / self.done if self.done else None


@dataclass(frozen=True, kw_only=True)
class Sharing:
    """What queries of the run had in common."""

    #: Steps that the strategies asked, and those of them that an engine was asked for.
    asked: int
    generated: int
    #: Tokens that would have been generated and read again.
    prompt_tokens_saved: int
    completion_tokens_saved: int


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a run is."""

    entries: tuple[EntryProgress, ...]
    #: Units and completion tokens of the last ten minutes, and how long of them it worked (s).
    recent_units: int
    recent_tokens: int
    recent_seconds: float
    sharing: Sharing

    @property
    def done(self) -> int:
        return sum(entry.done for entry in self.entries)


def progress_of(engine: Engine, run: str, now: datetime) -> Progress:
    """How far the run is, by entry in the order of their names."""
    with snapshot(engine) as connection:
        since = now - RECENT
        recent = select(
            func.count(), func.sum(units.c.completion_tokens), func.min(units.c.at)
        ).where(units.c.run == run, units.c.at >= since)
        count, tokens, first = connection.execute(recent).one()
        return Progress(
            entries=_entries(connection, run),
            recent_units=count,
            recent_tokens=int(tokens or 0),
            recent_seconds=(now - first).total_seconds() if first else 0.0,
            sharing=_sharing(connection, run),
        )


def _entries(connection: Connection, run: str) -> tuple[EntryProgress, ...]:
    found = (
        select(
            units.c.entry,
            func.count().label("done"),
            _count(units.c.status == "correct").label("correct"),
            _count(units.c.status == "unparsable").label("unparsable"),
            _count(units.c.status.in_(("failed", "error"))).label("failed"),
            func.sum(units.c.prompt_tokens).label("prompt_tokens"),
            func.sum(units.c.completion_tokens).label("completion_tokens"),
            func.avg(units.c.seconds).label("seconds"),
        )
        .where(units.c.run == run)
        .group_by(units.c.entry)
        .order_by(units.c.entry)
    )
    rows = connection.execute(found)
    # PostgreSQL adds bigints up to a numeric.
    numbers: list[dict[str, Any]] = [dict(row._mapping) for row in rows]
    for number in numbers:
        number |= {name: int(number[name]) for name in ("prompt_tokens", "completion_tokens")}
    return tuple(EntryProgress(**number) for number in numbers)


def _sharing(connection: Connection, run: str) -> Sharing:
    of_run = shared_steps.c.run == run
    asked = connection.scalar(select(func.count()).select_from(shared_steps).where(of_run)) or 0
    prompt, completion = outcomes.c.prompt_tokens, outcomes.c.completion_tokens
    saved = (
        select(func.count(), func.sum(prompt), func.sum(completion))
        .join_from(shared_steps, outcomes, outcomes.c.step_id == shared_steps.c.step_id)
        .where(
            of_run,
            shared_steps.c.step_id != shared_steps.c.owner,
            outcomes.c.worker.startswith(SHARED_WITH),
        )
    )
    handed_on, prompt, completion = connection.execute(saved).one()
    return Sharing(
        asked=asked,
        generated=asked - handed_on,
        prompt_tokens_saved=int(prompt or 0),
        completion_tokens_saved=int(completion or 0),
    )


def _count(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)
