"""Equal steps of one run: one is generated, the others wait for its completion (`shared_steps`).

A waiting step is an ordinary step: its query's deadlines hold, and only an outcome ends it.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, Engine, Select, and_, bindparam, exists, select

from colm.db.connection import autocommit, transaction
from colm.db.record.loading import DECIDING_OUTCOME
from colm.db.record.rows import outcome_of, step_of
from colm.db.record.upserts import insert_new
from colm.db.schema import tables
from colm.db.schema.run_tables import OWNS, shared_steps
from colm.models.messages import Step
from colm.models.step_fingerprint import content_key
from colm.models.strategies.base import Outcome


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """A step that waits for an equal one which has ended."""

    step: Step
    owner: str
    #: The outcome of `owner`; None if that step's query ended without one.
    outcome: Outcome | None


_RUN = select(tables.queries.c.run).where(tables.queries.c.query_id == bindparam("id"))
_OWNER = select(shared_steps.c.owner).where(shared_steps.c.step_id == bindparam("id"))
_OWNER_OF_KEY = select(shared_steps.c.step_id).where(
    OWNS, shared_steps.c.run == bindparam("run"), shared_steps.c.key == bindparam("key")
)


def owner_of(engine: Engine, step: Step) -> str:
    """The id of the step to generate: the first of the equal steps of its run.

    The answer never changes. Raises TransientError.
    """
    with transaction(engine) as connection:
        owner = connection.scalar(_OWNER, {"id": step.step_id})
        if owner is not None:
            return str(owner)
        run = connection.scalar(_RUN, {"id": step.query_id})
        return step.step_id if run is None else _claim(connection, run, step)


def _claim(connection: Connection, run: str, step: Step) -> str:
    row = {"step_id": step.step_id, "run": run, "key": content_key(step), "owner": step.step_id}
    if insert_new(connection, shared_steps, row):
        return step.step_id
    owner = connection.execute(_OWNER_OF_KEY, {"run": run, "key": row["key"]}).scalar_one()
    insert_new(connection, shared_steps, {**row, "owner": owner})
    return str(owner)


def waiting(engine: Engine, limit: int) -> list[Waiting]:
    """Open steps whose owner has an outcome, or whose owner's query has ended without one."""
    with autocommit(engine) as connection:
        rows = connection.execute(_waiting().limit(limit)).all()
    steps_waiting = []
    for row in rows:
        fields = dict(row._mapping)
        owner = fields.pop("owner_id")
        steps = {c.name: fields[f"step_{c.name}"] for c in tables.steps.c}
        outcomes = {c.name: fields[f"outcome_{c.name}"] for c in tables.outcomes.c}
        outcome = None if outcomes["status"] is None else outcome_of(outcomes)
        steps_waiting.append(Waiting(step=step_of(steps), owner=owner, outcome=outcome))
    return steps_waiting


def _waiting() -> Select[tuple[object, ...]]:
    # `IN (open queries)` makes SQLite begin with these few.
    steps, outcomes = tables.steps, tables.outcomes
    of_owner = outcomes.alias("of_owner")
    owners_query = tables.steps.alias("owners")
    ended = exists().where(
        owners_query.c.step_id == shared_steps.c.owner,
        tables.answers.c.query_id == owners_query.c.query_id,
    )
    decided = and_(of_owner.c.step_id == shared_steps.c.owner, of_owner.c.status != "late")
    return (
        select(
            shared_steps.c.owner.label("owner_id"),
            *(c.label(f"step_{c.name}") for c in steps.c),
            *(of_owner.c[c.name].label(f"outcome_{c.name}") for c in outcomes.c),
        )
        .select_from(
            steps.join(shared_steps, shared_steps.c.step_id == steps.c.step_id).join(
                of_owner, decided, isouter=True
            )
        )
        .where(
            steps.c.query_id.in_(select(tables.progress.c.query_id).where(tables.OPEN)),
            shared_steps.c.owner != steps.c.step_id,
            ~exists().where(DECIDING_OUTCOME),
            (of_owner.c.step_id.is_not(None)) | ended,
        )
        .order_by(steps.c.asked_at)
    )
