"""Celery's result backend over the record: an AsyncResult of `ask` is the recorded answer.

Nothing is stored twice and nothing can disagree: the commit that stores the answer resolves the
result, for any process, at any later time. A waiting caller hears of that commit at once
(LISTEN/NOTIFY on PostgreSQL, a 10 ms look at SQLite) and does not wait for ever: when nobody
listens to the queue that its question lies in, it is told which.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from celery import states
from celery.backends.base import BaseBackend
from celery.exceptions import TimeoutError as CeleryTimeoutError
from sqlalchemy import Engine

from db import engine as databases
from db import reads
from models.errors import InvalidAsk, QueryFailed
from tasks import runtime
from tasks.settings import settings
from workers.listening import check_somebody_listens
from workers.run_results import run_meta

#: How long one wait for a notification lasts before the state is looked at again (seconds).
LOOK_AGAIN = 5.0
#: The name of the task whose results these are.
ASK_TASK = "colm.ask"

logger = logging.getLogger(__name__)


class RecordBackend(BaseBackend):
    """Resolves results from the record. It stores nothing: coordinators do."""

    supports_native_join = False
    persistent = True

    @cached_property
    def _engine(self) -> Engine:
        return databases.connect(settings().database_url)

    def _get_task_meta_for(self, task_id: str) -> dict[str, Any]:
        found = reads.answer_of(self._engine, task_id)
        of_run = run_meta(self._engine, task_id) if found.status == "unknown" else None
        return of_run or _meta(task_id, found)

    def _store_result(
        self,
        task_id: str,
        result: Any,
        state: str,
        traceback: Any = None,  # noqa: ARG002  # Celery passes it by position
        request: Any = None,
        **_: Any,
    ) -> Any:
        """Record the end of an ask that never became a query; all else is recorded elsewhere.

        Celery calls this for asks that were revoked, and for messages of unknown tasks, in the loop
        that takes tasks: it must not raise.
        """
        if state in (states.REVOKED, states.FAILURE) and _task_of(request) == ASK_TASK:
            reason = f"{state.lower()}: {result}"
            try:
                runtime.record().refuse(task_id, "", "unknown", reason, datetime.now(UTC))
            except Exception:  # a message whose end raises stays unacked, and keeps its place
                logger.exception("the end of ask %s is not recorded", task_id)
        return result

    def _forget(self, task_id: str) -> None:
        raise NotImplementedError("the record is append-only: a result cannot be forgotten")

    def wait_for(
        self,
        task_id: str,
        timeout: float | None = None,
        interval: float = 0.5,  # noqa: ARG002  # not polled
        no_ack: bool = True,  # noqa: ARG002  # nothing to ack
        on_interval: Callable[[], None] | None = None,
    ) -> dict[str, Any]:
        """The result's meta, as soon as it is recorded.

        Raises celery's TimeoutError after `timeout` seconds, and NoConsumer when the question still
        lies in its queue and no coordinator listens there.
        """
        started = time.monotonic()
        check_at = started + settings().limits.listen_timeout
        while True:
            found = reads.answer_of(self._engine, task_id)
            if found.status in ("answered", "failed", "refused"):
                return _meta(task_id, found)
            of_run = run_meta(self._engine, task_id) if found.status == "unknown" else None
            if of_run is not None and of_run["status"] in states.READY_STATES:
                return of_run
            now = time.monotonic()
            if timeout is not None and now - started >= timeout:
                raise CeleryTimeoutError(f"no answer to query {task_id} within {timeout:g} s")
            if now >= check_at and of_run is None:
                check_somebody_listens(found)
                check_at = now + settings().limits.listen_timeout
            if on_interval:
                on_interval()
            wait = LOOK_AGAIN if timeout is None else min(LOOK_AGAIN, timeout - (now - started))
            reads.wait_for_answer(self._engine, task_id, min(wait, max(check_at - now, 0.01)))


def _task_of(request: Any) -> str | None:
    """The task's name, out of either kind of request that Celery passes."""
    return getattr(request, "task", None) or getattr(request, "name", None)


def _meta(task_id: str, found: reads.AnswerState) -> dict[str, Any]:
    status: str = states.PENDING
    result: Any = None
    if found.status == "open":
        status = states.STARTED
    elif found.status == "answered":
        assert found.answer is not None
        status, result = states.SUCCESS, found.answer.model_dump(mode="json")
    elif found.status == "failed":
        status = states.FAILURE
        result = QueryFailed(f"{found.reason} ('colm show {task_id}' tells the whole of it)")
    elif found.status == "refused":
        status, result = states.FAILURE, InvalidAsk(found.reason or "refused")
    return {
        "task_id": task_id,
        "status": status,
        "result": result,
        "traceback": None,
        "children": [],
        "date_done": found.ended_at.isoformat() if found.ended_at else None,
    }
