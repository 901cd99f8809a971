"""Evaluation runs, and the lease of the evaluator that works on one. All may raise TransientError.

An evaluator owns a run until its lease expires; it renews the lease while it works.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, Engine, Row, bindparam, func, insert, select, update

from colm.db.connection import autocommit, transaction
from colm.db.record.upserts import insert_new
from colm.db.schema.run_tables import run_events, run_states, runs
from colm.models.errors import CallerError, InvalidAsk

#: failed: its data cannot be read as before; it can be resumed.
RunState = Literal["open", "paused", "cancelled", "failed", "done"]

#: Command -> (states in which it is allowed, the new state).
_CHANGES: dict[str, tuple[tuple[RunState, ...], RunState]] = {
    "paused": (("open",), "paused"),
    "resumed": (("paused", "failed"), "open"),
    "cancelled": (("open", "paused", "failed"), "cancelled"),
}


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run as ordered, and its state."""

    run: str
    config: dict[str, Any]
    ordered_at: datetime
    state: RunState
    #: The reason for waiting or failure.
    note: str
    #: Units of the whole plan; None until the data are read.
    units: int | None
    #: Digest of the examples; None until they are read.
    data: str | None
    owner: str | None
    owned_until: datetime | None


@dataclass(frozen=True, kw_only=True)
class RunEvent:
    """An event of a run."""

    seq: int
    at: datetime
    what: str
    by: str


_RUN = select(*runs.c, *(c for c in run_states.c if c.name != "run")).join_from(runs, run_states)


def order(
    engine: Engine, run: str, config: dict[str, Any], now: datetime, problem: str | None = None
) -> bool:
    """Record a run: open, or failed with a `problem`. False if it was recorded before.

    Raises InvalidAsk for a recorded run with another configuration.
    """
    with transaction(engine) as connection:
        row = {"run": run, "config": config, "ordered_at": now}
        if insert_new(connection, runs, row):
            state = {"state": "open" if problem is None else "failed", "note": problem or ""}
            connection.execute(insert(run_states), {"run": run, **state})
            _add_event(connection, run, now, "ordered", "")
            return True
        stored_config = connection.scalar(select(runs.c.config).where(runs.c.run == run))
    if stored_config != config:
        raise InvalidAsk(f"run {run!r} exists with another configuration: choose another name")
    return False


def find(engine: Engine, run: str) -> Run:
    """The run. Raises CallerError if there is none."""
    with autocommit(engine) as connection:
        row = connection.execute(_RUN.where(runs.c.run == run)).one_or_none()
    if row is None:
        raise CallerError(f"there is no run {run!r}; `colm run list` lists them")
    return _run_of(row)


def list_runs(engine: Engine, state: RunState | None = None, limit: int = 1000) -> list[Run]:
    """The latest runs, newest first; of one state or of any."""
    statement = _RUN if state is None else _RUN.where(run_states.c.state == state)
    with autocommit(engine) as connection:
        rows = connection.execute(statement.order_by(runs.c.ordered_at.desc()).limit(limit))
        return [_run_of(row) for row in rows]


def events(engine: Engine, run: str) -> list[RunEvent]:
    """The events of the run, oldest first."""
    columns = (run_events.c.seq, run_events.c.at, run_events.c.what, run_events.c.by)
    statement = select(*columns).where(run_events.c.run == run).order_by(run_events.c.seq)
    with autocommit(engine) as connection:
        return [RunEvent(**row._mapping) for row in connection.execute(statement)]


def acquire(
    engine: Engine,
    run: str,
    owner: str,
    *,
    now: datetime,
    until: datetime,
    alive: Callable[[str], bool] = lambda _owner: True,
) -> bool:
    """Lease the run to `owner` until `until`. False if it is not open or leased to another.

    A lease ends early if `alive(owner)` is False.
    """
    with transaction(engine) as connection:
        state = _locked(connection, run)
        if state.state != "open" or _owned_by_another(state, owner, now, alive):
            return False
        _set(connection, run, owner=owner, owned_until=until, note="")
        if state.owner != owner:
            _add_event(connection, run, now, "taken", owner)
        return True


def renew(engine: Engine, run: str, owner: str, until: datetime) -> RunState | None:
    """Extend the lease. Returns the run's state; None if another owns it."""
    mine = update(run_states).where(run_states.c.run == run, run_states.c.owner == owner)
    with transaction(engine) as connection:
        if connection.execute(mine.values(owned_until=until)).rowcount == 0:
            return None
        state: RunState = _locked(connection, run).state
        return state


def release(
    engine: Engine,
    run: str,
    owner: str,
    *,
    now: datetime,
    note: str = "",
    state: RunState | None = None,
) -> None:
    """End the lease with a `note`, and set an open run to `state`."""
    with transaction(engine) as connection:
        current = _locked(connection, run)
        if current.owner != owner:
            return
        changes: dict[str, Any] = {"owner": None, "owned_until": None, "note": note}
        if state is not None and current.state == "open":
            changes["state"] = state
            _add_event(connection, run, now, state, owner)
        else:
            _add_event(connection, run, now, "given back", owner)
        _set(connection, run, **changes)


def set_plan(
    engine: Engine,
    run: str,
    owner: str,
    *,
    planned: int,
    data: str,
    at: datetime,
    summary: str = "",
) -> bool:
    """Record the run's number of units and digest of the data. False if the data have changed.

    On the first call `summary` becomes an event.
    """
    with transaction(engine) as connection:
        state = _locked(connection, run)
        if state.data is not None and state.data != data:
            return False
        if state.owner == owner and state.data is None:
            _set(connection, run, units=planned, data=data)
            if summary:
                _add_event(connection, run, at, summary, owner)
        return True


def change(
    engine: Engine, run: str, what: Literal["paused", "resumed", "cancelled"], now: datetime
) -> RunState:
    """Pause, resume or cancel a run. Returns its state. Raises CallerError if not allowed."""
    find(engine, run)
    allowed, state = _CHANGES[what]
    with transaction(engine) as connection:
        current = _locked(connection, run)
        if current.state == state:
            return state
        if current.state not in allowed:
            raise CallerError(f"run {run} is {current.state}: it cannot be {what}")
        _set(connection, run, state=state, note="")
        _add_event(connection, run, now, what, "")
        return state


def _owned_by_another(
    state: Row[Any], owner: str, now: datetime, alive: Callable[[str], bool]
) -> bool:
    if state.owner in (None, owner) or state.owned_until < now:
        return False
    return alive(state.owner)


def _run_of(row: Row[Any]) -> Run:
    return Run(**row._mapping)


_LOCK = select(run_states).where(run_states.c.run == bindparam("id")).with_for_update()


def _locked(connection: Connection, run: str) -> Row[Any]:
    return connection.execute(_LOCK, {"id": run}).one()


def _set(connection: Connection, run: str, **changes: Any) -> None:
    connection.execute(update(run_states).where(run_states.c.run == run).values(**changes))


def _add_event(connection: Connection, run: str, now: datetime, what: str, by: str) -> None:
    latest = select(func.coalesce(func.max(run_events.c.seq), 0)).where(run_events.c.run == run)
    seq = (connection.scalar(latest) or 0) + 1
    row = {"run": run, "seq": seq, "at": now, "what": what, "by": by}
    connection.execute(insert(run_events), row)
