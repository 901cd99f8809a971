"""Shared steps of a run: a step that equals an earlier one waits for it instead of being sent.

The outcome of the sent step is submitted for every step that waits for it, each in its own query's
commit. If the sent step was closed without a completion, because its query no longer needed it or
its deadline passed, the waiting steps are sent: their result must not depend on another query.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import Engine

from colm.db.runs import shared_steps
from colm.db.runs.progress import SHARED_WITH
from colm.models.client_reliability import UNSENT
from colm.models.errors import NoConsumer, Overloaded, SettingsError, TransientError, plainly
from colm.models.messages import Step, StepError, StepKey, Submission
from colm.models.receipt import Receipt
from colm.workers.coordinator.coordinator import failure_of
from colm.workers.periodic_thread import PeriodicThread

logger = logging.getLogger(__name__)

#: Poll intervals while steps wait, and otherwise (seconds).
BUSY_POLL, IDLE_POLL = 0.25, 2.0
#: Time after the last waiting step during which polls are busy (seconds).
BUSY_FOR = 60.0


class StepDeduplicator:
    """Stands between a coordinator and the queues. `send` is safe on many threads."""

    def __init__(
        self,
        engine: Engine,
        send: Callable[[Step], None],
        adapter_of: Callable[[str], str | None] = lambda _: None,
    ) -> None:
        self._engine = engine
        self._send = send
        self._adapter_of = adapter_of
        self._busy_until = 0.0
        #: Waiting steps that were sent, and those that could not be sent, by id.
        self._sent: set[str] = set()
        self._unsent: set[str] = set()
        self._thread: PeriodicThread | None = None

    def send(self, step: Step) -> None:
        """Send a step, or let it wait for an equal step of its run that was sent before."""
        if step.lane == "overnight":
            adapter = self._adapter_of(step.participant)
            owner = shared_steps.owner_of(self._engine, step, adapter)
            if owner != step.step_id:
                logger.debug("step %s waits for %s", step.step_id, owner)
                self._busy_until = time.monotonic() + BUSY_FOR
                return
        self._send(step)

    def settle(self, submit: Callable[[Submission], Receipt], limit: int = 1000) -> int:
        """Submit the outcomes of steps that others wait for; the number of waiting steps."""
        waiting = shared_steps.waiting(self._engine, limit)
        for shared in waiting:
            try:
                self._settle(shared, submit)
            except (NoConsumer, Overloaded, SettingsError) as error:  # retried at the next poll
                self._note_unsent(shared.step, error)
            except TransientError:
                raise
            except Exception as error:  # a fault of this step alone
                logger.exception("shared step %s could not be settled", shared.step.step_id)
                submit(failure_of(shared.step, UNSENT, plainly(error)))
        return len(waiting)

    def start(self, submit: Callable[[Submission], Receipt]) -> None:
        """Settle in a thread until `close`."""

        def poll() -> None:
            if self.settle(submit):
                self._busy_until = time.monotonic() + BUSY_FOR

        self._thread = PeriodicThread("shared-steps", self._interval, poll)
        self._thread.start()

    def close(self) -> None:
        if self._thread is not None:
            self._thread.close()

    def _interval(self) -> float:
        return BUSY_POLL if time.monotonic() < self._busy_until else IDLE_POLL

    def _settle(
        self, shared: shared_steps.Waiting, submit: Callable[[Submission], Receipt]
    ) -> None:
        outcome = shared.outcome
        if outcome is None or outcome.status == "expired":
            if shared.step.step_id not in self._sent:
                self._send(shared.step)
                self._sent.add(shared.step.step_id)
        else:
            worker = f"{SHARED_WITH}{shared.owner}"
            submit(copied_submission(shared.step, worker, outcome.completion, outcome.error))

    def _note_unsent(self, step: Step, reason: Exception) -> None:
        if step.step_id not in self._unsent:  # logged once
            self._unsent.add(step.step_id)
            logger.warning("shared step %s waits: %s", step.step_id, reason)


def copied_submission(step: Step, worker: str, completion: Any, error: Any) -> Submission:
    key = step.model_dump(include=set(StepKey.model_fields))
    if completion is None and error is None:
        error = StepError(kind="NoOutcome", reason="the step that this one waited for has none")
    return Submission(**key, worker=worker[:200], completion=completion, error=error)
