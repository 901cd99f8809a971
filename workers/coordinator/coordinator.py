"""The coordinator: advances queries between the record and the strategies.

Every entry point locks the query and adds the input; records the strategy's next move in the same
commit; and publishes the new steps with confirms after the commit. A crash between commit and
publish leaves steps that are not marked as dispatched: `republish_undispatched` publishes them. A
crash after the publish repeats a message, which is harmless as the record is idempotent by step.

A step that cannot be sent fails with the reason: at once if a retry cannot help, else at its
deadline. A query that cannot be advanced ends as failed.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from colm.models.cancellation import Cancel, CancelSteps
from colm.models.client_reliability import UNRECORDED, UNSENT
from colm.models.errors import (
    InvalidAsk,
    NoConsumer,
    Overloaded,
    SettingsError,
    TransientError,
    UnknownQuery,
    plainly,
)
from colm.models.messages import MAX_REASON_CHARS, Attempt, Step, StepError, StepKey, Submission
from colm.models.receipt import Receipt
from colm.models.redelivery import MAX_ATTEMPTS, AttemptLimits, Fail, Retry, decide_redelivery
from colm.models.roster import Roster, make_request, resolve
from colm.models.strategies.advance import (
    Effects,
    cancelled,
    effects_of,
    given_up,
    next_move,
    retry_step,
)
from colm.models.strategies.base import Move, Outcome
from colm.tasks.interfaces import Announcer, Cancelled, LockedQuery, QueryStore

logger = logging.getLogger(__name__)

#: Time after which a step without a dispatch mark is published again.
STRANDED_AFTER = timedelta(seconds=10)
#: Time for which a step is retried while the broker refuses it for want of a permission.
REFUSED_FOR = timedelta(seconds=60)
#: Number of unsent steps whose reason is kept.
KEPT_UNSENT = 10_000


@dataclass(frozen=True, kw_only=True)
class Unsent:
    """Reason why a step is not sent, and the time of the first attempt."""

    since: datetime
    reason: str


@dataclass(frozen=True, kw_only=True)
class Coordinator:
    """Advances queries. Safe to call from many threads and processes at once."""

    record: QueryStore
    roster: Roster
    send: Callable[[Step], None]
    #: Cancels steps in every process of a participant. Raises TransientError.
    stop: Callable[[str, CancelSteps], None]
    #: Marks steps as dispatched, later and in batches.
    mark: Callable[[Sequence[str]], None]
    announce: Announcer
    clock: Callable[[], datetime]
    #: Bounds on redeliveries of a step after its worker died.
    limits: AttemptLimits
    #: Steps that could not be sent so far, by id, oldest first.
    _unsent: OrderedDict[str, Unsent] = field(default_factory=OrderedDict, init=False, repr=False)
    #: Queries that cannot be recorded, with the time of the next attempt.
    _unrecordable: dict[str, datetime] = field(default_factory=dict, init=False, repr=False)

    def accept(self, query_id: str, question: Any, options: Mapping[str, Any]) -> None:
        """Record a query and send its first steps. An invalid ask is recorded as refused."""
        now = self.clock()
        try:
            request = make_request(question, options)
            query = resolve(request, self.roster, query_id, now)
            with self.record.begin(query) as life:
                todo = self._advance(life, now) if not life.ended else None
        except InvalidAsk as error:
            shown_question = question if isinstance(question, str) else repr(question)
            strategy = str(options.get("strategy", "colm"))
            self.record.refuse(query_id, shown_question, strategy, str(error), now)
            self.announce.refused(query_id, str(error))
            return
        self._run_effects(todo)

    def submit(self, submission: Submission) -> Receipt:
        """Record the outcome of a step and send the steps that follow."""
        now = self.clock()
        outcome, todo = _outcome(submission, now), None
        with self.record.open(submission.query_id) as life:
            receipt = life.add_outcome(submission, outcome)
            if receipt == "recorded" and not life.ended:
                todo = self._advance(life, now)
        self._run_effects(todo)
        return receipt

    def attempt(self, attempt: Attempt) -> Receipt:
        """Record that a step may have killed a worker, and send it again or fail it.

        A repeated attempt is sent again, too: its recorder may have crashed before the publish.
        """
        now, todo, again = self.clock(), None, None
        with self.record.open(attempt.query_id) as life:
            receipt = life.add_attempt(attempt, now)
            if receipt in ("recorded", "repeated"):
                match self._verdict(life, attempt):
                    case Retry(isolated=isolated):
                        again = retry_step(life.state, attempt.step_id, alone=isolated)
                    case Fail(reason=reason):
                        logger.error("step %s fails: %s", attempt.step_id, reason)
                        error = StepError(kind="Poison", reason=reason[:MAX_REASON_CHARS])
                        outcome = Outcome(status="failed", at=now, error=error)
                        life.add_outcome(attempt, outcome)
                        todo = self._advance(life, now)
        self._run_effects(todo)
        if again is not None:
            how = "isolated" if again.alone else "with others"
            logger.warning("step %s was redelivered and is sent again, %s", again.step_id, how)
            self._send([again])
        return receipt

    def cancel(self, cancel: Cancel) -> Cancelled:
        """End an open query as failed and cancel its steps."""
        now, todo = self.clock(), None
        try:
            with self.record.open(cancel.query_id) as life:
                if not life.ended:
                    move = cancelled(life.state, now, cancel.failure)
                    todo = self._apply(life, move, now)
        except UnknownQuery:
            logger.info("query %s is unknown or was refused", cancel.query_id)
            return "unknown"
        if todo is None:
            logger.info("query %s ended before it could be cancelled", cancel.query_id)
            return "ended"
        logger.info("query %s: %s", cancel.query_id, cancel.failure)
        self._run_effects(todo)
        return "cancelled"

    def _verdict(self, life: LockedQuery, attempt: Attempt) -> Retry | Fail | None:
        """None for the start of an isolated run, whose outcome decides."""
        tried = life.redelivery_history(attempt.step_id)
        if attempt.kind == "alone" and len(tried) < MAX_ATTEMPTS:
            return None
        return decide_redelivery(tried, self.limits)

    def not_recorded(self, step: StepKey, why: str) -> Receipt:
        """Fail a step whose submission cannot be recorded, for the reason `why`."""
        reason = f"the submission of {step.participant} could not be recorded: {why}"
        return self.submit(failure_of(step, UNRECORDED, reason))

    def process_due(self, limit: int = 100) -> int:
        """Advance the queries whose deadline or wake-up time has come; their number."""
        now = self.clock()
        rows = self.record.due(now, limit + len(self._unrecordable))
        due = [query_id for query_id in rows if self._unrecordable.get(query_id, now) <= now]
        for query_id in due:
            try:
                todo = self._advance_due(query_id, now)
            except TransientError:
                raise
            except Exception as error:  # a fault of this query alone
                logger.exception("query %s cannot be advanced", query_id)
                todo = self._fail_query(query_id, now, error)
            self._run_effects(todo)
        return len(due)

    def republish_undispatched(self, limit: int = 100) -> int:
        """Publish steps again that a crash may have kept from their queues; their number."""
        # The oldest come first: unsent steps must not exhaust the limit.
        limit += len(self._unsent)
        steps = self.record.stranded(self.clock() - STRANDED_AFTER, limit)
        if steps:
            logger.warning(
                "publishing %d steps again that are not marked as dispatched", len(steps)
            )
        self._send(steps)
        return len(steps)

    def _advance_due(self, query_id: str, now: datetime) -> Effects | None:
        with self.record.open(query_id) as life:
            if life.ended:
                return None
            over = [state for state in life.state.steps if state.step.deadline_at <= now]
            for state in over:
                unsent = self._unsent.get(state.step.step_id)
                if unsent is not None and state.open:
                    failure = failure_of(state.step, UNSENT, unsent.reason)
                    life.add_outcome(state.step, _outcome(failure, now))
            todo = self._advance(life, now)
        for state in over:
            self._unsent.pop(state.step.step_id, None)
        return todo

    def _fail_query(self, query_id: str, now: datetime, error: Exception) -> Effects | None:
        """End a query that cannot be advanced, so that its caller does not wait."""
        try:
            with self.record.open(query_id) as life:
                if life.ended:
                    return None
                reason = f"the coordinator failed: {plainly(error)}"
                return self._apply(life, given_up(life.state, now, reason), now)
        except TransientError:
            raise
        except Exception:  # a fault of this query alone
            logger.exception("query %s cannot be ended", query_id)
            self._unrecordable[query_id] = now + REFUSED_FOR
            return None

    def _advance(self, life: LockedQuery, now: datetime) -> Effects:
        return self._apply(life, next_move(life.state, now), now)

    def _apply(self, life: LockedQuery, move: Move, now: datetime) -> Effects:
        todo = effects_of(life.state, move, now)
        life.apply(move, now)
        return todo

    def _run_effects(self, todo: Effects | None) -> None:
        """After the commit: publish new steps, cancel closed ones, announce the end."""
        if todo is None:
            return
        self._send(todo.steps)
        for participant, stop in todo.stops:
            try:
                self.stop(participant, stop)
            except TransientError as error:  # a completion that comes is recorded as late
                logger.warning("%s", error)
        if todo.ended is not None:
            answer = todo.ended
            logger.info(
                "query %s %s by %s in %.1f s%s", answer.query_id, answer.status, answer.strategy,
                answer.seconds, ", degraded" if answer.degraded else "",
            )  # fmt: skip
            self.announce.ended(answer)

    def _send(self, steps: Sequence[Step]) -> None:
        """Publish and mark. A step whose queue is missing or full is retried later.

        A step that can never be sent is recorded as failed.
        """
        sent: list[str] = []
        lost: list[tuple[Step, str]] = []
        try:
            for step in steps:
                try:
                    self.send(step)
                except (NoConsumer, Overloaded, SettingsError) as error:
                    logger.warning("step %s waits: %s", step.step_id, error)
                    if self._refused_for_good(step, error):
                        lost.append((step, str(error)))
                except TransientError:
                    raise
                except Exception as error:  # a fault of this step alone
                    logger.exception("step %s cannot be sent", step.step_id)
                    lost.append((step, plainly(error)))
                else:
                    self._unsent.pop(step.step_id, None)
                    sent.append(step.step_id)
        finally:
            if sent:
                self.mark(sent)
        for step, why in lost:
            self._fail_step(step, why)

    def _refused_for_good(self, step: Step, error: Exception) -> bool:
        """Note why a step is unsent; True if a permission was missing for REFUSED_FOR."""
        now = self.clock()
        unsent = self._unsent.setdefault(step.step_id, Unsent(since=now, reason=""))
        self._unsent[step.step_id] = Unsent(since=unsent.since, reason=str(error))
        while len(self._unsent) > KEPT_UNSENT:
            self._unsent.popitem(last=False)
        return isinstance(error, SettingsError) and now - unsent.since >= REFUSED_FOR

    def _fail_step(self, step: Step, why: str) -> None:
        self._unsent.pop(step.step_id, None)
        try:
            self.submit(failure_of(step, UNSENT, why))
        except TransientError:
            raise
        except Exception:  # it expires at its deadline
            logger.exception("step %s cannot be recorded as failed", step.step_id)


def failure_of(step: StepKey, kind: str, reason: str) -> Submission:
    """A submission that fails the step for a fault of the site."""
    key = step.model_dump(include=set(StepKey.model_fields))
    error = StepError(kind=kind, reason=reason[:MAX_REASON_CHARS])
    return Submission(**key, worker="coordinator", error=error)


def _outcome(submission: Submission, now: datetime) -> Outcome:
    return Outcome(
        status="completed" if submission.completion else "failed",
        at=now,
        worker=submission.worker,
        completion=submission.completion,
        error=submission.error,
    )
