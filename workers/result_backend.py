"""Celery's result backend over the record: the AsyncResult of `ask` is the recorded answer.

The result is stored once, as the answer: the commit that stores it resolves the result in every
process, at any later time. All callers of a process share one connection that listens for commits
and one that reads. `colm.workers.result_wait` has the waiting, `colm.workers.result_meta` the
translation to Celery's states.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterator
from contextlib import closing
from functools import partial
from typing import Any, NoReturn

from celery import states
from celery.backends.base import BaseBackend

from colm.db.reads.completion_listener import listener_of
from colm.models.errors import InvalidAsk
from colm.tasks import dependencies
from colm.tasks.config.settings import settings
from colm.tasks.rejection import record_refusal
from colm.workers.result_meta import ASK_TASK, meta_of
from colm.workers.result_wait import READ_TIMEOUT, RecordReader, Wait, reader_of

NO_CHORDS = (
    "CoLM runs no chord, and no group that another task follows: get() the answers of the group, "
    "then send the next task with them"
)
NO_GROUPS = (
    "the record keeps answers and no groups: keep group_result.as_tuple(), of which "
    "celery.result.result_from_tuple(kept, app=tasks.app) makes the group again"
)


class RecordBackend(BaseBackend):
    """Read-only result backend: coordinators store the answers."""

    supports_native_join = False
    persistent = True

    @property
    def _reader(self) -> RecordReader:
        return reader_of(settings().database_url)

    def _get_task_meta_for(self, task_id: str) -> dict[str, Any]:
        meta: dict[str, Any] = self._reader.read(partial(meta_of, task_id=task_id), READ_TIMEOUT)
        return meta

    def _store_result(
        self,
        task_id: str,
        result: Any,
        state: str,
        traceback: Any = None,  # noqa: ARG002  # Celery passes it by position
        request: Any = None,
        **_: Any,
    ) -> Any:
        """Record the end of an ask that never became a query; ignore every other result.

        Celery calls this for revoked asks and for messages of unknown tasks, in the consumer loop:
        it must not raise.
        """
        ended = state in (states.REVOKED, states.FAILURE)
        if ended and _task_of(request) == ASK_TASK and dependencies.has_record():
            record_refusal(task_id, f"{state.lower()}: {result}")
        return result

    def _forget(self, task_id: str) -> None:
        raise NotImplementedError(
            "the record is append-only: a result cannot be forgotten. 'colm erase' removes the "
            f"texts of a query, 'colm purge' removes old ones (this is {task_id})"
        )

    def ensure_chords_allowed(self) -> NoReturn:
        raise InvalidAsk(NO_CHORDS)

    def _save_group(self, *_: Any) -> NoReturn:
        raise InvalidAsk(NO_GROUPS)

    _restore_group = _delete_group = _save_group

    def wait_for(
        self,
        task_id: str,
        timeout: float | None = None,
        interval: float = 0.5,
        no_ack: bool = True,  # noqa: ARG002  # nothing to ack
        on_interval: Callable[[], None] | None = None,
    ) -> dict[str, Any]:
        """The result's meta, as soon as it is recorded.

        Raises celery's TimeoutError after `timeout` seconds; NoConsumer if the question is still in
        its queue and no coordinator consumes it; without a timeout, TransientError if the database
        stays unreachable.
        """
        with closing(self._ends((task_id,), timeout, interval, on_interval)) as ends:
            _, meta = next(ends)
            return meta

    def get_many(
        self,
        task_ids: Collection[str],
        timeout: float | None = None,
        interval: float = 0.5,
        no_ack: bool = True,  # noqa: ARG002  # nothing to ack
        on_message: Any = None,  # noqa: ARG002  # no messages
        on_interval: Callable[[], None] | None = None,
        **_: Any,
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """The metas of results in the order in which they end. Raises like `wait_for`."""
        return self._ends(tuple(task_ids), timeout, interval, on_interval)

    def _ends(
        self,
        task_ids: tuple[str, ...],
        timeout: float | None,
        interval: float,
        on_interval: Callable[[], None] | None,
    ) -> Generator[tuple[str, dict[str, Any]], None, None]:
        reader, wait = self._reader, Wait(timeout)
        left = list(task_ids)
        with listener_of(reader.engine).awaiting(task_ids) as notification:
            while left:
                notified = notification.is_set()
                if notified:  # cleared only then: a notification may come between the two calls
                    notification.clear()
                if wait.read_is_due(notified=notified):
                    for task_id, meta in wait.read(reader, left).items():
                        left.remove(task_id)
                        yield task_id, meta
                    if not left:
                        return
                wait.check(left[0], reached=reader.reached)
                if on_interval:
                    on_interval()
                notification.wait(min(max(interval, 0.01), wait.idle_seconds))


def _task_of(request: Any) -> str | None:
    """The task's name, from either kind of request that Celery passes."""
    return getattr(request, "task", None) or getattr(request, "name", None)
