"""Waiting of one caller for results: when to read the record, and when to give up."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from celery.exceptions import TimeoutError as CeleryTimeoutError
from sqlalchemy import Engine

from colm.db import connection as databases
from colm.db.reads.answers import AnswerState
from colm.models.errors import NoConsumer, TransientError
from colm.tasks.broker.queue_stats import count_consumers
from colm.tasks.broker.retry import GIVE_UP_AFTER
from colm.tasks.broker.topology import ASK
from colm.tasks.config.settings import settings
from colm.workers.bounded_caller import BoundedCaller
from colm.workers.result_meta import ended_of

logger = logging.getLogger(__name__)

#: Interval of reads while no notification arrives (seconds).
POLL_SECONDS = 5.0
#: Pause after a read that failed (seconds).
RETRY_AFTER = 1.0
#: Limit of a read for callers without a timeout (seconds).
READ_TIMEOUT = 10.0
#: Time for the last read beyond the caller's timeout (seconds).
LAST_READ = 1.0
#: How long a caller without a timeout retries a database that this process never reached (seconds).
NEVER_REACHED = 10.0
#: Delay of a query's end after its deadline that is normal while a coordinator runs (seconds).
OVERDUE = 30.0
#: Limit of a broker call for callers without one (seconds).
BROKER_TIMEOUT = 30.0

_broker = BoundedCaller("the broker")


@dataclass
class RecordReader:
    """The record, read on one connection by all threads of this process."""

    engine: Engine
    caller: BoundedCaller
    reached: bool = False

    def read(self, query: Callable[[Engine], Any], timeout: float) -> Any:
        """Raises TransientError if the database is unreachable, or silent for `timeout` seconds."""
        result = self.caller.call(partial(query, self.engine), timeout)
        self.reached = True
        return result


_READERS: dict[str, RecordReader] = {}


def reader_of(url: str) -> RecordReader:
    """This process's reader of a database. It connects at the first read."""
    if (reader := _READERS.get(url)) is None:
        engine = databases.connect(url, pool_size=1)
        caller = BoundedCaller("the database", unstick=databases.connection_aborter(engine))
        reader = _READERS.setdefault(url, RecordReader(engine, caller))
    return reader


class Wait:
    """State of one caller's wait. It outlives outages, up to the caller's timeout."""

    def __init__(self, timeout: float | None) -> None:
        now = time.monotonic()
        self.timeout = timeout
        self.until = float("inf") if timeout is None else now + timeout
        self._read_at = now
        self._check_at = now + settings().limits.no_consumer_timeout
        #: When the broker last answered.
        self._broker_at = now
        #: State of the first task that has not ended; None for a run, or before the first read.
        self._state: AnswerState | None = None
        self._outage: TransientError | None = None
        self._outage_since = 0.0

    def read_is_due(self, *, notified: bool) -> bool:
        """A notification makes a read due, except during an outage."""
        return time.monotonic() >= self._read_at or (notified and self._outage is None)

    @property
    def idle_seconds(self) -> float:
        """Time until the next read or check without a notification."""
        return max(min(self.until, self._read_at, self._check_at) - time.monotonic(), 0.0)

    def read(self, reader: RecordReader, task_ids: list[str]) -> dict[str, dict[str, Any]]:
        """The metas of the tasks that have ended. An outage is noted and not raised."""
        now = time.monotonic()
        timeout = min(max(self.until - now, LAST_READ), READ_TIMEOUT)
        ended: dict[str, dict[str, Any]]
        try:
            ended, state = reader.read(partial(ended_of, task_ids=tuple(task_ids)), timeout)
        except TransientError as error:
            self._outage_since = self._outage_since if self._outage else now
            self._outage = error
            self._read_at = time.monotonic() + RETRY_AFTER
            return {}
        self._outage, self._state = None, state
        self._read_at = time.monotonic() + POLL_SECONDS
        return ended

    def check(self, task_id: str, *, reached: bool) -> None:
        """Raise celery's TimeoutError, the outage that lasts, or NoConsumer, if it is time to."""
        now = time.monotonic()
        if now >= self.until:
            trouble = f"; {self._outage}" if self._outage else ""
            raise CeleryTimeoutError(
                f"no answer to query {task_id} within {self.timeout:g} s{trouble}"
            )
        if self._outage is not None:
            longest = GIVE_UP_AFTER if reached else NEVER_REACHED
            if self.timeout is None and now - self._outage_since >= longest:
                raise self._outage
        elif now >= self._check_at and self._state is not None:
            self._check_broker(self._state, now)
            self._check_at = time.monotonic() + settings().limits.no_consumer_timeout

    def _check_broker(self, state: AnswerState, now: float) -> None:
        try:
            raise_if_no_consumer(state, timeout=min(self.until - now, READ_TIMEOUT))
        except TransientError as error:
            logger.info("the consumers of query %s are unknown: %s", state.query_id, error)
            if self.timeout is None and now - self._broker_at >= GIVE_UP_AFTER:
                raise
        else:
            self._broker_at = now


def raise_if_no_consumer(state: AnswerState, timeout: float = BROKER_TIMEOUT) -> None:
    """Raise NoConsumer for a query that is unrecorded or overdue while no coordinator consumes.

    Raises TransientError if the broker does not answer within `timeout` seconds.
    """
    overdue = (
        state.deadline_at is not None
        and (datetime.now(UTC) - state.deadline_at).total_seconds() > OVERDUE
    )
    if state.status != "unknown" and not overdue:
        return
    if _broker.share(lambda: count_consumers(ASK), timeout) == 0:
        raise NoConsumer(
            f"queue {ASK} has no consumer, so nobody works on query {state.query_id}: start "
            "'colm coordinator' (or 'colm up'). The question is kept; its result can be waited "
            "for again"
        )
