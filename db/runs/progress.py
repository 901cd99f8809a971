"""Progress, cost and shared steps of a run. All may raise TransientError."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, case, func, select

from colm.db.connection import snapshot
from colm.db.schema.run_tables import shared_steps, units
from colm.db.schema.tables import outcomes

#: Prefix of `outcomes.worker` for an outcome copied from an equal step.
SHARED_WITH = "shared with "
#: Window of a run's pace.
RECENT = timedelta(minutes=10)


@dataclass(frozen=True, kw_only=True)
class EntryProgress:
    """Progress of one entry of a run."""

    entry: str
    done: int
    correct: int
    unparsable: int
    #: Without a verdict: the query failed, or the grader did.
    failed: int
    prompt_tokens: int
    completion_tokens: int
    #: Mean from question to answer.
    seconds: float

    @property
    def accuracy(self) -> float | None:
        """Correct answers among all completed units; a missing answer counts as wrong."""
        return self.correct / self.done if self.done else None


@dataclass(frozen=True, kw_only=True)
class Sharing:
    """Steps that queries of the run shared."""

    steps_asked: int
    steps_generated: int
    prompt_tokens_saved: int
    completion_tokens_saved: int


@dataclass(frozen=True, kw_only=True)
class RunProgress:
    """Progress of a run."""

    entries: tuple[EntryProgress, ...]
    #: Units, completion tokens and seconds of work within the last RECENT.
    recent_units: int
    recent_tokens: int
    recent_seconds: float
    sharing: Sharing

    @property
    def done(self) -> int:
        return sum(entry.done for entry in self.entries)


def progress_of(engine: Engine, run: str, now: datetime) -> RunProgress:
    """The progress of the run, entries by name."""
    with snapshot(engine) as connection:
        since = now - RECENT
        recent = select(
            func.count(), func.sum(units.c.completion_tokens), func.min(units.c.at)
        ).where(units.c.run == run, units.c.at >= since)
        count, tokens, first = connection.execute(recent).one()
        return RunProgress(
            entries=_entries(connection, run),
            recent_units=count,
            recent_tokens=int(tokens or 0),
            recent_seconds=(now - first).total_seconds() if first else 0.0,
            sharing=_sharing(connection, run),
        )


def _entries(connection: Connection, run: str) -> tuple[EntryProgress, ...]:
    statement = (
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
    rows = connection.execute(statement)
    # PostgreSQL sums bigints to numeric.
    numbers: list[dict[str, Any]] = [dict(row._mapping) for row in rows]
    for number in numbers:
        number |= {name: int(number[name]) for name in ("prompt_tokens", "completion_tokens")}
    return tuple(EntryProgress(**number) for number in numbers)


def _sharing(connection: Connection, run: str) -> Sharing:
    of_run = shared_steps.c.run == run
    steps_asked = (
        connection.scalar(select(func.count()).select_from(shared_steps).where(of_run)) or 0
    )
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
        steps_asked=steps_asked,
        steps_generated=steps_asked - handed_on,
        prompt_tokens_saved=int(prompt or 0),
        completion_tokens_saved=int(completion or 0),
    )


def _count(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)
