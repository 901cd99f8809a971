"""Celery's result backend over the record: an AsyncResult of `ask` is the recorded answer.

Nothing is stored twice and nothing can disagree: the commit that stores the answer resolves the
result, for any process, at any later time. All callers of a process wait on one connection, which
hears of that commit at once, and read with another. A waiting caller sits out a database that is
away, but not for ever, nor longer than it said; and when nobody listens to the queue that its
question lies in, it is told which.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Generator, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, NoReturn

from celery import states
from celery.backends.base import BaseBackend
from celery.exceptions import TaskRevokedError
from celery.exceptions import TimeoutError as CeleryTimeoutError
from sqlalchemy import Engine

from colm.db import connection as databases
from colm.db.reads import answers
from colm.db.reads.answers import AnswerState, completed_of
from colm.db.reads.completion_listener import listener_of
from colm.db.runs import store
from colm.db.runs.progress import progress_of
from colm.models.errors import CallerError, InvalidAsk, NoConsumer, QueryFailed, TransientError
from colm.tasks import dependencies
from colm.tasks.broker.queue_stats import count_consumers
from colm.tasks.broker.retry import GIVE_UP_AFTER
from colm.tasks.broker.topology import ASK
from colm.tasks.config.settings import settings
from colm.tasks.rejection import record_refusal
from colm.workers.bounded_calls import BoundedCaller

#: How long a caller goes on without a look at the record when it hears nothing (seconds).
LOOK_AGAIN = 5.0


#: How long after a look that failed the next one follows (seconds).
TRY_AGAIN = 1.0


#: How long a look may take where no caller says (seconds).
LOOK_WITHIN = 10.0


#: How much longer than its timeout a call may take for its last look (seconds).
LAST_LOOK = 1.0


#: For how long a caller without a timeout tries a database that this process never reached
#: (seconds); where it was reached before, the outage may pass.
NEVER_REACHED = 10.0


#: The name of the task whose results these are.
ASK_TASK = "colm.ask"


logger = logging.getLogger(__name__)


NO_CHORDS = (
    "CoLM runs no chord, and no group that another task follows: get() the answers of the group, "
    "then send the next task with them"
)


NO_GROUPS = (
    "the record keeps answers and no groups: keep group_result.as_tuple(), of which "
    "celery.result.result_from_tuple(kept, app=tasks.app) makes the group again"
)


@dataclass
class Place:
    """A record as all threads of this process read it."""

    engine: Engine
    reader: BoundedCaller
    reached: bool = False

    def read(self, look: Callable[[Engine], Any], within: float) -> Any:
        """Raises TransientError where the database is away, or silent for so long."""
        found = self.reader.call(partial(look, self.engine), within)
        self.reached = True
        return found


_PLACES: dict[str, Place] = {}


def place(url: str) -> Place:
    """The one place of this process for a database."""
    if (found := _PLACES.get(url)) is None:
        engine = databases.connect(url, pool_size=1)  # which connects to nothing yet
        reader = BoundedCaller("the database", unstick=databases.connection_aborter(engine))
        found = _PLACES.setdefault(url, Place(engine, reader))
    return found


class RecordBackend(BaseBackend):
    """Resolves results from the record. It stores nothing: coordinators do."""

    supports_native_join = False
    persistent = True

    @property
    def _place(self) -> Place:
        return place(settings().database_url)

    def _get_task_meta_for(self, task_id: str) -> dict[str, Any]:
        meta: dict[str, Any] = self._place.read(partial(_meta_of, task_id=task_id), LOOK_WITHIN)
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
        """Record the end of an ask that never became a query; all else is recorded elsewhere.

        Celery calls this for asks that were revoked, and for messages of unknown tasks, in the loop
        that takes tasks: it must not raise.
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

        Raises celery's TimeoutError after `timeout` seconds, whatever hangs; NoConsumer when the
        question still lies in its queue and no coordinator listens there; without a timeout,
        TransientError when the database stays away.
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
        """The metas of results as they end, in that order; raises what `wait_for` raises."""
        return self._ends(tuple(task_ids), timeout, interval, on_interval)

    def _ends(
        self,
        task_ids: tuple[str, ...],
        timeout: float | None,
        interval: float,
        on_interval: Callable[[], None] | None,
    ) -> Generator[tuple[str, dict[str, Any]], None, None]:
        here, wait = self._place, Wait(timeout)
        left = list(task_ids)
        with listener_of(here.engine).awaiting(task_ids) as told:
            while left:
                heard = told.is_set()
                if heard:  # and not otherwise: it may be told of between the two
                    told.clear()
                if wait.wants_look(heard=heard):
                    for task_id, meta in wait.look(here, left).items():
                        left.remove(task_id)
                        yield task_id, meta
                    if not left:
                        return
                wait.check(left[0], reached=here.reached)
                if on_interval:
                    on_interval()
                told.wait(min(max(interval, 0.01), wait.quiet))


class Wait:
    """One caller's wait: until when, what it found last, and when it looks again."""

    def __init__(self, timeout: float | None) -> None:
        now = time.monotonic()
        self.timeout = timeout
        self.until = float("inf") if timeout is None else now + timeout
        self._look_at = now
        self._check_at = now + settings().limits.no_consumer_timeout
        #: When the broker was last known to be there.
        self._asked_since = now
        #: Where the first of what is left stands; None once a run is, or before the first look.
        self._standing: answers.AnswerState | None = None
        self._away: TransientError | None = None
        self._away_since = 0.0

    def wants_look(self, *, heard: bool) -> bool:
        """Whether it is time to look; what is heard does not hurry a database that is away."""
        return time.monotonic() >= self._look_at or (heard and self._away is None)

    @property
    def quiet(self) -> float:
        """How long there is nothing to do, unless something is heard."""
        return max(min(self.until, self._look_at, self._check_at) - time.monotonic(), 0.0)

    def look(self, here: Place, task_ids: list[str]) -> dict[str, dict[str, Any]]:
        """The metas of those that have ended. An outage is noted; only a lasting fault raises."""
        now = time.monotonic()
        within = min(max(self.until - now, LAST_LOOK), LOOK_WITHIN)
        try:
            ended, standing = here.read(partial(_ended_of, task_ids=tuple(task_ids)), within)
        except TransientError as error:
            self._away_since = self._away_since if self._away else now
            self._away = error
            self._look_at = time.monotonic() + TRY_AGAIN
            return {}
        self._away, self._standing = None, standing
        self._look_at = time.monotonic() + LOOK_AGAIN
        found: dict[str, dict[str, Any]] = ended
        return found

    def check(self, task_id: str, *, reached: bool) -> None:
        """Raise what ends the wait: the timeout, a database that stays away, nobody who listens."""
        now = time.monotonic()
        if now >= self.until:
            trouble = f"; {self._away}" if self._away else ""
            raise CeleryTimeoutError(
                f"no answer to query {task_id} within {self.timeout:g} s{trouble}"
            )
        if self._away is not None:
            patience = GIVE_UP_AFTER if reached else NEVER_REACHED
            if self.timeout is None and now - self._away_since >= patience:
                raise self._away
        elif now >= self._check_at and self._standing is not None:
            self._check_broker(self._standing, now)
            self._check_at = time.monotonic() + settings().limits.no_consumer_timeout

    def _check_broker(self, standing: answers.AnswerState, now: float) -> None:
        try:
            raise_if_no_consumer(standing, within=min(self.until - now, LOOK_WITHIN))
        except TransientError as error:
            logger.info("whether anybody works on %s is not known: %s", standing.query_id, error)
            if self.timeout is None and now - self._asked_since >= GIVE_UP_AFTER:
                raise
        else:
            self._asked_since = now


def _ended_of(
    engine: Engine, task_ids: tuple[str, ...]
) -> tuple[dict[str, dict[str, Any]], answers.AnswerState | None]:
    """The metas of those that have ended, and where the first of the others stands."""
    ended = {
        task_id: _meta_of(engine, task_id) for task_id in sorted(completed_of(engine, task_ids))
    }
    waiting = next((task_id for task_id in task_ids if task_id not in ended), None)
    if waiting is None:
        return ended, None
    standing = answers.answer_of(engine, waiting)
    of_run = run_meta(engine, waiting) if standing.status == "unknown" else None
    if of_run is None:
        return ended, standing
    if of_run["status"] in states.READY_STATES:
        ended[waiting] = of_run
    return ended, None


def _meta_of(engine: Engine, task_id: str) -> dict[str, Any]:
    found = answers.answer_of(engine, task_id)
    # Somebody may have revoked a run by its id, which is then that of a refused ask, too.
    of_run = run_meta(engine, task_id) if found.status in ("unknown", "refused") else None
    return of_run or _meta(task_id, found)


def _task_of(request: Any) -> str | None:
    """The task's name, out of either kind of request that Celery passes."""
    return getattr(request, "task", None) or getattr(request, "name", None)


def _meta(task_id: str, found: answers.AnswerState) -> dict[str, Any]:
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
        "name": None if found.status == "unknown" else ASK_TASK,
        "status": status,
        "result": result,
        "traceback": None,
        "children": [],
        "date_done": found.ended_at.isoformat() if found.ended_at else None,
    }


#: How much later than its deadline a query may end while a coordinator is at work (seconds).
OVERDUE = 30.0


#: How long the broker may take to say who listens, where the caller does not say (seconds).
WITHIN = 30.0


_broker = BoundedCaller("the broker")


def raise_if_no_consumer(found: AnswerState, within: float = WITHIN) -> None:
    """Raise NoConsumer for a query that is unheard of or overdue while no coordinator listens.

    Raises TransientError when the broker does not say so within that time.
    """
    overdue = (
        found.deadline_at is not None
        and (datetime.now(UTC) - found.deadline_at).total_seconds() > OVERDUE
    )
    if found.status != "unknown" and not overdue:
        return
    if _broker.share(lambda: count_consumers(ASK), within) == 0:
        raise NoConsumer(
            f"queue {ASK} has no consumer, so nobody works on query {found.query_id}: start "
            "'colm coordinator' (or 'colm up'). The question is kept; its result can be waited "
            "for again"
        )


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
        found = store.find(engine, run)
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
