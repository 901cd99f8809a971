"""A participant's steps on one engine: each is generated once, and every end of it is told."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
import uuid
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from colm.models.cancellation import CancelSteps
from colm.models.engines.base import Engine, GenerationRequest, why_no_text
from colm.models.errors import EngineError, EngineLost, ImageUnavailable, NoText, TransientError
from colm.models.messages import (
    MAX_COMPLETION_CHARS,
    MAX_REASON_CHARS,
    MAX_WORKER_CHARS,
    Attempt,
    Completion,
    Role,
    Step,
    StepError,
    StepKey,
    Submission,
    explain,
)
from colm.models.redelivery import HANG_GRACE, AttemptKind
from colm.models.texts import is_blank
from colm.tasks.broker.publish import report_attempt
from colm.workers.consumer.lanes import overnight_share
from colm.workers.participant.exclusive import ExclusiveGate
from colm.workers.participant.step_images import fetch_step_images

logger = logging.getLogger(__name__)


#: Submissions kept for steps that are delivered again after they were done.
KEPT_SUBMISSIONS = 512


#: Stops remembered, for steps that are still in a queue: by step, or by query.
KEPT_STOPS = 10_000


#: The exit status of a process whose engine is gone (sysexits.h).
EX_SOFTWARE = 70


def end_process() -> None:
    """End at once, and without acks: the engine is of no use any more."""
    os._exit(EX_SOFTWARE)


class EngineGenerator:
    """Does steps with one engine, for the participants it is named for. Safe on many threads.

    A step that is delivered again, because a connection broke before its ack, is not generated
    again: it joins the generation under way, or repeats the submission made before. One that is
    delivered again and unknown here may have killed the process that had it: it is handed back,
    for the coordinators to ask anew.
    """

    def __init__(
        self,
        engine: Engine,
        names: Sequence[str],
        role: Role,
        *,
        worker: str,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
        end_process: Callable[[], None] = end_process,
        tell: Callable[[Attempt, Role], None] = report_attempt,
        images_of: Callable[[Step], Mapping[str, bytes]] = fetch_step_images,
        new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
    ) -> None:
        self._engine = engine
        self._names = frozenset(names)
        self._role = role
        self._worker = worker[:MAX_WORKER_CHARS]
        self._clock = clock
        self._monotonic = monotonic
        self._end_process = end_process
        self._tell = tell
        self._images_of = images_of
        self._new_id = new_id
        self._company = ExclusiveGate()
        # One place in the batch stays free for interactive steps.
        self._overnight = threading.BoundedSemaphore(overnight_share(engine.info.capacity))
        self._lock = threading.Lock()
        self._waiting: Counter[str] = Counter()
        self._running: dict[str, Future[Completion]] = {}
        self._begun: dict[str, float] = {}
        self._done: OrderedDict[str, Submission] = OrderedDict()
        self._stopped: OrderedDict[str, None] = OrderedDict()

    def serves(self, step: Step) -> bool:
        return step.role == self._role and step.participant in self._names

    def generate(self, step: Step, *, redelivered: bool = False) -> Submission | Attempt:
        """The step's completion, or why it has none; an Attempt where it is handed back."""
        try:
            return self._handled(step, redelivered)
        except (EngineLost, TransientError):
            raise
        except Exception as error:
            # The outermost place of a step: a fault that nobody expects is told at once. Else the
            # query would wait for its deadline, and say that nothing came from this participant.
            logger.exception("step %s failed", step.step_id)
            why = explain(error) if isinstance(error, ValidationError) else str(error)
            return self._kept(self._failed(step, type(error).__name__, why or repr(error)))

    def _handled(self, step: Step, redelivered: bool) -> Submission | Attempt:
        known = self._known(step)
        if known is not None:
            return known
        with self._lock:
            future = self._running.get(step.step_id)
            unknown = future is None and not self._waiting[step.step_id]
            if future is None and not (redelivered and unknown):
                self._waiting[step.step_id] += 1
        if future is not None:
            return self._settle(step, future)
        if redelivered and unknown:
            logger.warning("step %s came back from a worker that is gone", step.step_id)
            return self._attempt(step, "returned")
        try:
            return self._generate(step)
        finally:
            with self._lock:
                self._waiting[step.step_id] -= 1
                if not self._waiting[step.step_id]:
                    del self._waiting[step.step_id]

    def stop(self, stop: CancelSteps) -> int:
        """Generate these steps no more, nor when they come yet; returns how many were running."""
        with self._lock:
            for name in stop.step_ids or (stop.query_id,):
                self._stopped[name] = None
            while len(self._stopped) > KEPT_STOPS:
                self._stopped.popitem(last=False)
            running = [step_id for step_id in self._running if stop.covers(step_id)]
        return sum(self._engine.cancel(step_id) for step_id in running)

    def _generate(self, step: Step) -> Submission:
        own = self._overnight if step.lane == "overnight" else contextlib.nullcontext()
        with own, self._company.exclusive() if step.alone else self._company.shared():
            known = self._known(step)  # time has passed
            if known is not None:
                return known
            if step.alone:
                self._tell(self._attempt(step, "alone"), self._role)
            try:
                images = self._images_of(step)
            except ImageUnavailable as error:
                return self._failed(step, "ImageUnavailable", str(error))
            return self._settle(step, self._start(step, images))

    def _known(self, step: Step) -> Submission | None:
        """What can be said of a step without generating."""
        with self._lock:
            if step.step_id in self._done:
                return self._done[step.step_id]
            stopped = self._is_stopped(step)
        if stopped:
            return self._failed(step, "Cancelled", "nobody waits for it any more")
        left = self._left(step)
        if left > 0:
            return None
        return self._failed(
            step, "DeadlineExceeded", f"reached {self._worker} {-left:.1f} s too late"
        )

    def _is_stopped(self, step: Step) -> bool:
        return step.step_id in self._stopped or step.query_id in self._stopped

    def _left(self, step: Step) -> float:
        return (step.deadline_at - self._clock()).total_seconds()

    def _start(self, step: Step, images: Mapping[str, bytes]) -> Future[Completion]:
        with self._lock:
            future = self._running.get(step.step_id)
            if future is None:
                left = self._left(step)
                how = "alone" if step.alone else "taken"
                logger.debug("step %s %s, %.0f s left for it", step.step_id, how, left)
                future = self._engine.submit(self._request(step, left, images))
                self._running[step.step_id] = future
                self._begun[step.step_id] = self._monotonic()
                if self._is_stopped(step):  # said since it was looked at
                    self._engine.cancel(step.step_id)
        return future

    def _settle(self, step: Step, future: Future[Completion]) -> Submission:
        try:
            submission = self._await(step, future)
        except Exception:
            with self._lock:
                self._forget(step)
            raise
        return self._kept(submission)

    def _kept(self, submission: Submission) -> Submission:
        with self._lock:
            self._forget(submission)
            self._done[submission.step_id] = submission
            while len(self._done) > KEPT_SUBMISSIONS:
                self._done.popitem(last=False)
        return submission

    def _forget(self, step: StepKey) -> None:
        self._running.pop(step.step_id, None)
        self._begun.pop(step.step_id, None)

    def waiting_since(self) -> float | None:
        """When the step that has been with the engine for longest was handed to it."""
        with self._lock:
            return min(self._begun.values(), default=None)

    def _request(self, step: Step, left: float, images: Mapping[str, bytes]) -> GenerationRequest:
        return GenerationRequest(
            request_id=step.step_id,
            messages=step.messages,
            sampling=step.sampling,
            images=images,
            deadline=self._monotonic() + left,
            lane=step.lane,
            choices=step.choices,
            conversation=f"{step.query_id}.{step.participant}",
        )

    def _await(self, step: Step, future: Future[Completion]) -> Submission:
        try:
            completion = future.result(timeout=max(0.0, self._left(step)) + HANG_GRACE)
        except EngineLost as error:
            # Submitting failures would empty the queue that healthy workers share. Nothing is
            # acked: the broker delivers the steps again, to them or to this worker's successor.
            logger.critical("ending this process: %s", error)
            self._end_process()
            raise
        except EngineError as error:
            return self._failed(step, type(error).__name__, str(error))
        except TimeoutError:
            self._engine.cancel(step.step_id)
            return self._failed(
                step, "EngineHangs", f"no completion {HANG_GRACE:.0f} s after the deadline"
            )
        if is_blank(completion.text) and not step.choices:
            why = why_no_text(
                completion.completion_tokens,
                completion.finish_reason,
                reasoned=bool(completion.thought),
            )
            return self._failed(step, NoText.__name__, why)
        if len(completion.text) > MAX_COMPLETION_CHARS:
            return self._failed(
                step, "CompletionTooLong", f"{len(completion.text)} characters were generated"
            )
        return self._completed(step, completion)

    def _completed(self, step: Step, completion: Completion) -> Submission:
        """What is sent, as whoever receives it will read it."""
        told = {**_key(step), "worker": self._worker, "completion": completion.model_dump()}
        try:
            return Submission.model_validate(told)
        except ValidationError as error:
            return self._failed(step, "UnusableCompletion", explain(error))

    def _failed(self, step: Step, kind: str, reason: str) -> Submission:
        logger.warning("step %s failed: %s: %s", step.step_id, kind, reason)
        # A reason quotes what it likes, and half an emoji cannot be sent.
        reason = reason.encode("utf-8", "replace").decode("utf-8")[:MAX_REASON_CHARS]
        error = StepError(kind=kind[:100], reason=reason)
        return Submission(**_key(step), worker=self._worker, error=error)

    def _attempt(self, step: Step, kind: AttemptKind) -> Attempt:
        return Attempt(**_key(step), attempt_id=self._new_id(), kind=kind, worker=self._worker)


def _key(step: Step) -> dict[str, Any]:
    return step.model_dump(include=set(StepKey.model_fields))
