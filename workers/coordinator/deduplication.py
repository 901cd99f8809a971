"""Shared steps in a coordinator: what equals a step of the same run is not sent, but waits for it.

The outcome of the step that was sent is handed to those that wait as if they had been, each in its
own query's commit. Where it was closed without a completion, because its own query needed it no
more or its deadline came first, each that waits is sent after all: what it gets may not depend on
what another query was about.
"""

from __future__ import annotations

import logging
import threading
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

logger = logging.getLogger(__name__)

#: How often is looked for steps that need not wait any longer, while some do, and else (seconds).
BUSY_LOOK, IDLE_LOOK = 0.25, 2.0
#: How long after the last step that waited or was settled it counts as busy (seconds).
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
        self._stop = threading.Event()
        self._busy_until = 0.0
        self._sent_after_all: set[str] = set()
        self._waits: set[str] = set()
        self._thread: threading.Thread | None = None

    def send(self, step: Step) -> None:
        """Send a step, or let it wait for an equal one of its run that was sent before."""
        if step.lane == "overnight":
            adapter = self._adapter_of(step.participant)
            owner = shared_steps.owner_of(self._engine, step, adapter)
            if owner != step.step_id:
                logger.debug("step %s waits for %s", step.step_id, owner)
                self._busy_until = time.monotonic() + BUSY_FOR
                return
        self._send(step)

    def settle(self, submit: Callable[[Submission], Receipt], limit: int = 1000) -> int:
        """Hand on what has become of steps that others wait for; returns how many were waiting."""
        found = shared_steps.waiting(self._engine, limit)
        for waiting in found:
            try:
                self._settle(waiting, submit)
            except (NoConsumer, Overloaded, SettingsError) as error:  # it is tried again
                self._wait(waiting.step, error)
            except TransientError:
                raise
            except Exception as error:  # a step's own: the others are settled
                logger.exception("shared step %s could not be settled", waiting.step.step_id)
                submit(failure_of(waiting.step, UNSENT, plainly(error)))
        return len(found)

    def _wait(self, step: Step, why: Exception) -> None:
        if step.step_id not in self._waits:  # told once
            self._waits.add(step.step_id)
            logger.warning("shared step %s waits: %s", step.step_id, why)

    def _settle(
        self, waiting: shared_steps.Waiting, submit: Callable[[Submission], Receipt]
    ) -> None:
        outcome = waiting.outcome
        if outcome is None or outcome.status == "expired":
            self._send_after_all(waiting.step)
        else:
            told = f"{SHARED_WITH}{waiting.owner}"
            submit(copied_submission(waiting.step, told, outcome.completion, outcome.error))

    def start(self, submit: Callable[[Submission], Receipt]) -> None:
        """Settle in a thread of its own, until `close`."""
        self._thread = threading.Thread(
            target=self._loop, args=[submit], name="sharing", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=5.0)

    @property
    def _busy(self) -> bool:
        return time.monotonic() < self._busy_until

    def _send_after_all(self, step: Step) -> None:
        if step.step_id not in self._sent_after_all:
            self._send(step)  # where it fails it is tried again at the next look
            self._sent_after_all.add(step.step_id)

    def _loop(self, submit: Callable[[Submission], Receipt]) -> None:
        while not self._stop.wait(BUSY_LOOK if self._busy else IDLE_LOOK):
            try:
                if self.settle(submit):
                    self._busy_until = time.monotonic() + BUSY_FOR
            except TransientError as error:
                logger.warning("shared steps wait: %s", error)
            except Exception:  # the outermost loop: the others must be settled
                logger.exception("a shared step could not be settled")


def copied_submission(step: Step, worker: str, completion: Any, error: Any) -> Submission:
    key = step.model_dump(include=set(StepKey.model_fields))
    if completion is None and error is None:
        error = StepError(kind="NoOutcome", reason="the step that this one waited for has none")
    return Submission(**key, worker=worker[:200], completion=completion, error=error)
