"""Evaluation runs: ordering one, and working on it alone.

An evaluator owns a run for as long as it renews its ownership; when it was killed another takes
over. All may raise TransientError.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, Engine, Row, bindparam, func, insert, select, update

from colm.db.connection import autocommit, transaction
from colm.db.schema.run_tables import once, run_events, run_states, runs
from colm.models.errors import CallerError, InvalidAsk

#: open: to be worked on. failed: its data cannot be read as it was; can be resumed.
RunState = Literal["open", "paused", "cancelled", "failed", "done"]

#: What each command may be said to, and what the run then is.
_CHANGES: dict[str, tuple[tuple[RunState, ...], RunState]] = {
    "paused": (("open",), "paused"),
    "resumed": (("paused", "failed"), "open"),
    "cancelled": (("open", "paused", "failed"), "cancelled"),
}


@dataclass(frozen=True, kw_only=True)
class Run:
    """An evaluation as it was ordered, and where it stands."""

    run: str
    config: dict[str, Any]
    ordered_at: datetime
    state: RunState
    #: What it waits for, or why it failed.
    note: str
    #: Of the whole plan; None until an evaluator has read the data.
    units: int | None
    #: A digest of the examples; None until then.
    data: str | None
    owner: str | None
    owned_until: datetime | None


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened to a run as a whole."""

    seq: int
    at: datetime
    what: str
    by: str


_RUN = select(*runs.c, *(c for c in run_states.c if c.name != "run")).join_from(runs, run_states)


def order(
    engine: Engine, run: str, config: dict[str, Any], now: datetime, problem: str | None = None
) -> bool:
    """Record a run: open, or failed where there is a problem with it.

    False where it was recorded before; raises InvalidAsk if it was as something else.
    """
    with transaction(engine) as connection:
        row = {"run": run, "config": config, "ordered_at": now}
        if connection.execute(once(connection, runs), row).rowcount == 1:
            state = {"state": "open" if problem is None else "failed", "note": problem or ""}
            connection.execute(insert(run_states), {"run": run, **state})
            _tell(connection, run, now, "ordered", "")
            return True
        known = connection.scalar(select(runs.c.config).where(runs.c.run == run))
    if known != config:
        raise InvalidAsk(f"there is a run {run!r} of another configuration; choose another name")
    return False


def find(engine: Engine, run: str) -> Run:
    """The run called `run`. Raises CallerError if there is none."""
    with autocommit(engine) as connection:
        row = connection.execute(_RUN.where(runs.c.run == run)).one_or_none()
    if row is None:
        raise CallerError(f"there is no run {run!r}; `colm run list` tells which there are")
    return _run_of(row)


def known_runs(engine: Engine, state: RunState | None = None, limit: int = 1000) -> list[Run]:
    """The latest runs, newest first; of one state, or of any."""
    found = _RUN if state is None else _RUN.where(run_states.c.state == state)
    with autocommit(engine) as connection:
        rows = connection.execute(found.order_by(runs.c.ordered_at.desc()).limit(limit))
        return [_run_of(row) for row in rows]


def events(engine: Engine, run: str) -> list[Event]:
    """What happened to the run, oldest first."""
    columns = (run_events.c.seq, run_events.c.at, run_events.c.what, run_events.c.by)
    told = select(*columns).where(run_events.c.run == run).order_by(run_events.c.seq)
    with autocommit(engine) as connection:
        return [Event(**row._mapping) for row in connection.execute(told)]


def take(
    engine: Engine,
    run: str,
    owner: str,
    *,
    now: datetime,
    until: datetime,
    alive: Callable[[str], bool] = lambda _owner: True,
) -> bool:
    """Make `owner` the one at work on `run`, if it is open and nobody else is.

    Somebody else is at work until its time is over, or until `alive` says that it is gone.
    """
    with transaction(engine) as connection:
        found = _locked(connection, run)
        if found.state != "open" or _owned_by_another(found, owner, now, alive):
            return False
        _set(connection, run, owner=owner, owned_until=until, note="")
        if found.owner != owner:
            _tell(connection, run, now, "taken", owner)
        return True


def renew(engine: Engine, run: str, owner: str, until: datetime) -> RunState | None:
    """Go on owning the run; its state, or None if somebody else owns it now."""
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
    """Stop owning the run, with a `note` for who reads it, and set it to `state` if it is open."""
    with transaction(engine) as connection:
        found = _locked(connection, run)
        if found.owner != owner:
            return
        changes: dict[str, Any] = {"owner": None, "owned_until": None, "note": note}
        if state is not None and found.state == "open":
            changes["state"] = state
            _tell(connection, run, now, state, owner)
        else:
            _tell(connection, run, now, "given back", owner)
        _set(connection, run, **changes)


def describe(
    engine: Engine, run: str, owner: str, *, planned: int, data: str, at: datetime, told: str = ""
) -> bool:
    """Note how many units the run has and of which data; False if it was of other data before.

    The first time `told` becomes an event: what there is to say of the data.
    """
    with transaction(engine) as connection:
        found = _locked(connection, run)
        if found.data is not None and found.data != data:
            return False
        if found.owner == owner and found.data is None:
            _set(connection, run, units=planned, data=data)
            if told:
                _tell(connection, run, at, told, owner)
        return True


def change(
    engine: Engine, run: str, what: Literal["paused", "resumed", "cancelled"], now: datetime
) -> RunState:
    """Pause, resume or cancel a run; its new state. Raises CallerError where it cannot be."""
    find(engine, run)
    allowed, state = _CHANGES[what]
    with transaction(engine) as connection:
        found = _locked(connection, run)
        if found.state == state:
            return state
        if found.state not in allowed:
            raise CallerError(f"run {run} is {found.state}: it cannot be {what}")
        _set(connection, run, state=state, note="")
        _tell(connection, run, now, what, "")
        return state


def _owned_by_another(
    found: Row[Any], owner: str, now: datetime, alive: Callable[[str], bool]
) -> bool:
    if found.owner in (None, owner) or found.owned_until < now:
        return False
    return alive(found.owner)


def _run_of(row: Row[Any]) -> Run:
    return Run(**row._mapping)


_LOCK = select(run_states).where(run_states.c.run == bindparam("id")).with_for_update()


def _locked(connection: Connection, run: str) -> Row[Any]:
    return connection.execute(_LOCK, {"id": run}).one()


def _set(connection: Connection, run: str, **changes: Any) -> None:
    connection.execute(update(run_states).where(run_states.c.run == run).values(**changes))


def _tell(connection: Connection, run: str, now: datetime, what: str, by: str) -> None:
    latest = select(func.coalesce(func.max(run_events.c.seq), 0)).where(run_events.c.run == run)
    seq = (connection.scalar(latest) or 0) + 1
    row = {"run": run, "seq": seq, "at": now, "what": what, "by": by}
    connection.execute(insert(run_events), row)
