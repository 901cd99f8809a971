"""Celery's result meta of queries and runs, read from the record."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from celery import states
from celery.exceptions import TaskRevokedError
from sqlalchemy import Engine

from colm.db.reads.answers import AnswerState, answer_of, completed_of
from colm.db.runs import store
from colm.db.runs.progress import progress_of
from colm.models.errors import CallerError, InvalidAsk, QueryFailed

#: The task whose results are answers.
ASK_TASK = "colm.ask"
#: Celery's state of a run in each of its states.
RUN_STATES = {
    "open": states.STARTED,
    "paused": states.STARTED,
    "done": states.SUCCESS,
    "failed": states.FAILURE,
    "cancelled": states.REVOKED,
}


def meta_of(engine: Engine, task_id: str) -> dict[str, Any]:
    """The meta of a query or a run."""
    state = answer_of(engine, task_id)
    # A run that was revoked by its id is also recorded as a refused ask.
    of_run = run_meta(engine, task_id) if state.status in ("unknown", "refused") else None
    return of_run or _query_meta(task_id, state)


def ended_of(
    engine: Engine, task_ids: tuple[str, ...]
) -> tuple[dict[str, dict[str, Any]], AnswerState | None]:
    """The metas of the tasks that have ended, and the state of the first that has not.

    The state is None if all have ended, or if that task is a run.
    """
    ended = {
        task_id: meta_of(engine, task_id) for task_id in sorted(completed_of(engine, task_ids))
    }
    waiting = next((task_id for task_id in task_ids if task_id not in ended), None)
    if waiting is None:
        return ended, None
    state = answer_of(engine, waiting)
    of_run = run_meta(engine, waiting) if state.status == "unknown" else None
    if of_run is None:
        return ended, state
    if of_run["status"] in states.READY_STATES:
        ended[waiting] = of_run
    return ended, None


def run_meta(engine: Engine, run: str) -> dict[str, Any] | None:
    """The meta of the task that ordered `run`; None if there is no such run.

    The result of a run that is done is its progress, as in `colm run show --json`.
    """
    try:
        row = store.find(engine, run)
    except CallerError:
        return None
    result: Any = None
    if row.state == "done":
        result = {"run": run, **asdict(progress_of(engine, run, datetime.now(UTC)))}
    elif row.state == "failed":
        result = QueryFailed(f"run {run}: {row.note}")
    elif row.state == "cancelled":
        result = TaskRevokedError(f"run {run} was cancelled")
    return _meta(run, "colm.evaluate", RUN_STATES[row.state], result)


def _query_meta(query_id: str, state: AnswerState) -> dict[str, Any]:
    status: str = states.PENDING
    result: Any = None
    match state.status:
        case "open":
            status = states.STARTED
        case "answered":
            assert state.answer is not None
            status, result = states.SUCCESS, state.answer.model_dump(mode="json")
        case "failed":
            status = states.FAILURE
            result = QueryFailed(f"{state.reason} ('colm show {query_id}' tells the whole of it)")
        case "refused":
            status, result = states.FAILURE, InvalidAsk(state.reason or "refused")
    name = None if state.status == "unknown" else ASK_TASK
    return _meta(query_id, name, status, result, state.ended_at)


def _meta(
    task_id: str, name: str | None, status: str, result: Any, done: datetime | None = None
) -> dict[str, Any]:
    return {
        "task_id": task_id,
        "name": name,
        "status": status,
        "result": result,
        "traceback": None,
        "children": [],
        "date_done": done.isoformat() if done else None,
    }
