"""An AsyncResult of `evaluate` is the run: it resolves when the run has ended."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from celery import states
from celery.exceptions import TaskRevokedError
from sqlalchemy import Engine

from db import runs
from db.run_summary import progress_of
from models.errors import CallerError, QueryFailed

#: What Celery calls the states of a run.
STATES = {
    "open": states.STARTED,
    "paused": states.STARTED,
    "done": states.SUCCESS,
    "failed": states.FAILURE,
    "cancelled": states.REVOKED,
}


def run_meta(engine: Engine, run: str) -> dict[str, Any] | None:
    """The meta of a task that ordered `run`; None if there is no such run.

    The result of a run that is done is what `colm run show --json` calls its progress.
    """
    try:
        found = runs.find(engine, run)
    except CallerError:
        return None
    result: Any = None
    if found.state == "done":
        result = {"run": run, **asdict(progress_of(engine, run, datetime.now(UTC)))}
    elif found.state == "failed":
        result = QueryFailed(f"run {run}: {found.note}")
    elif found.state == "cancelled":
        result = TaskRevokedError(f"run {run} was cancelled")
    return {
        "task_id": run,
        "name": "colm.evaluate",
        "status": STATES[found.state],
        "result": result,
        "traceback": None,
        "children": [],
        "date_done": None,
    }
