"""The coordinator: between the record, which remembers, and the strategy, which decides.

Every entry point does the same three things: open the query under its lock and add what came in;
ask the strategy and record its move, in the same commit; then, after the commit, publish the new
steps with confirms. A crash between commit and publish leaves steps that are asked but not marked
as dispatched; `republish_stranded` finds them. A crash after the publish repeats a message, and
every repeat is harmless because the record knows each step by its key.

Nobody waits for what failed on this side: a step that cannot be sent fails with the reason, at once
where another try would not help, else at its deadline; a query that cannot go on ends with it.
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
from colm.models.messages import (
    MAX_REASON_CHARS,
    Attempt,
    Step,
    StepError,
    StepKey,
    Submission,
)
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

#: How long a publish may take before its step counts as stranded (seconds).
STRANDED_AFTER = timedelta(seconds=10)
#: How long the broker may refuse a step for want of a right, which may be given back.
REFUSED_FOR = timedelta(seconds=60)
#: Steps of which is remembered why they were not sent.
KEPT_UNSENT = 10_000


@dataclass(frozen=True, kw_only=True)
class Unsent:
    """Why a step could not be sent, and since when."""

    since: datetime
    reason: str


@dataclass(frozen=True, kw_only=True)
class Coordinator:
    """Advances queries. Safe to call from many threads and many processes at once."""

    record: QueryStore
    roster: Roster
    send: Callable[[Step], None]
    #: Tells every process of a participant to stop; TransientError where it cannot be told.
    stop: Callable[[str, CancelSteps], None]
    #: Marks steps as dispatched; may group many marks into one commit.
    mark: Callable[[Sequence[str]], None]
    announce: Announcer
    clock: Callable[[], datetime]
    #: How often a step may come back from workers that died.
    limits: AttemptLimits
    #: Steps that could not be sent so far, by id; the oldest are forgotten first.
    _unsent: OrderedDict[str, Unsent] = field(default_factory=OrderedDict, init=False, repr=False)
    #: Queries of which nothing can be recorded, and when that is tried again.
    _hopeless: dict[str, datetime] = field(default_factory=dict, init=False, repr=False)

    def accept(self, query_id: str, question: Any, options: Mapping[str, Any]) -> None:
        """Record a caller's query and ask its first steps; an unusable one is refused, recorded."""
        now = self.clock()
        try:
            request = make_request(question, options)
            query = resolve(request, self.roster, query_id, now)
            with self.record.begin(query) as life:
                todo = self._advance(life, now) if not life.ended else None
        except InvalidAsk as error:
            asked = question if isinstance(question, str) else repr(question)
            strategy = str(options.get("strategy", "colm"))
            self.record.refuse(query_id, asked, strategy, str(error), now)
            self.announce.refused(query_id, str(error))
            return
        self._run_effects(todo)

    def submit(self, submission: Submission) -> Receipt:
        """Record what became of a step and ask what follows from it."""
        now = self.clock()
        outcome, todo = _outcome(submission, now), None
        with self.record.open(submission.query_id) as life:
            receipt = life.add_outcome(submission, outcome)
            if receipt == "recorded" and not life.ended:
                todo = self._advance(life, now)
        self._run_effects(todo)
        return receipt

    def attempt(self, attempt: Attempt) -> Receipt:
        """Record that a step may have killed a worker, and ask it again or give it up.

        A repeat asks again, too: whoever recorded it may have died before the publish.
        """
        now, todo, again = self.clock(), None, None
        with self.record.open(attempt.query_id) as life:
            receipt = life.add_attempt(attempt, now)
            if receipt in ("recorded", "repeated"):
                match self._verdict(life, attempt):
                    case Retry(isolated=isolated):
                        again = retry_step(life.state, attempt.step_id, alone=isolated)
                    case Fail(reason=reason):
                        logger.error("step %s is given up: %s", attempt.step_id, reason)
                        error = StepError(kind="Poison", reason=reason[:MAX_REASON_CHARS])
                        outcome = Outcome(status="failed", at=now, error=error)
                        life.add_outcome(attempt, outcome)
                        todo = self._advance(life, now)
        self._run_effects(todo)
        if again is not None:
            how = "alone" if again.alone else "in company"
            logger.warning("step %s came back and is asked again, %s", again.step_id, how)
            self._send([again])
        return receipt

    def cancel(self, cancel: Cancel) -> Cancelled:
        """End a query as failed and stop its steps. One that has ended stays as it is."""
        now, todo = self.clock(), None
        try:
            with self.record.open(cancel.query_id) as life:
                if not life.ended:
                    move = cancelled(life.state, now, cancel.failure)
                    todo = self._apply(life, move, now)
        except UnknownQuery:
            logger.info("query %s is not known, or was refused", cancel.query_id)
            return "unknown"
        if todo is None:
            logger.info("query %s had ended when it was to be cancelled", cancel.query_id)
            return "ended"
        logger.info("query %s: %s", cancel.query_id, cancel.failure)
        self._run_effects(todo)
        return "cancelled"

    def _verdict(self, life: LockedQuery, attempt: Attempt) -> Retry | Fail | None:
        """None for a start alone, which waits for what becomes of it."""
        tried = life.redelivery_history(attempt.step_id)
        if attempt.kind == "alone" and len(tried) < MAX_ATTEMPTS:
            return None
        return decide_redelivery(tried, self.limits)

    def not_recorded(self, step: StepKey, why: str) -> Receipt:
        """End a step of which something came that cannot be recorded; `why` is the reason."""
        reason = f"what came from {step.participant} could not be recorded: {why}"
        return self.submit(failure_of(step, UNRECORDED, reason))

    def process_due(self, limit: int = 100) -> int:
        """Advance the queries whose deadline or wake-up time has come; returns how many."""
        now = self.clock()
        found = self.record.due(now, limit + len(self._hopeless))
        due = [query_id for query_id in found if self._hopeless.get(query_id, now) <= now]
        for query_id in due:
            try:
                todo = self._woken(query_id, now)
            except TransientError:
                raise
            except Exception as error:  # the oldest is woken first: its fault must not stop others
                logger.exception("query %s cannot be woken", query_id)
                todo = self._ended(query_id, now, error)
            self._run_effects(todo)
        return len(due)

    def republish_undispatched(self, limit: int = 100) -> int:
        """Publish again what a crash may have kept from its queue; returns how many steps."""
        # The oldest come first: those that wait for their queue must not keep others waiting.
        limit += len(self._unsent)
        steps = self.record.stranded(self.clock() - STRANDED_AFTER, limit)
        if steps:
            logger.warning("publishing %d steps again that were never dispatched", len(steps))
        self._send(steps)
        return len(steps)

    def _woken(self, query_id: str, now: datetime) -> Effects | None:
        with self.record.open(query_id) as life:
            if life.ended:
                return None
            over = [state for state in life.state.steps if state.step.deadline_at <= now]
            for state in over:
                known = self._unsent.get(state.step.step_id)
                if known is not None and state.open:
                    failure = failure_of(state.step, UNSENT, known.reason)
                    life.add_outcome(state.step, _outcome(failure, now))
            todo = self._advance(life, now)
        for state in over:
            self._unsent.pop(state.step.step_id, None)
        return todo

    def _ended(self, query_id: str, now: datetime, error: Exception) -> Effects | None:
        """End a query that cannot go on, so that nobody waits for it."""
        try:
            with self.record.open(query_id) as life:
                if life.ended:
                    return None
                reason = f"the coordinator failed: {plainly(error)}"
                return self._apply(life, given_up(life.state, now, reason), now)
        except TransientError:
            raise
        except Exception:  # nothing can be recorded of it for now: the others go on
            logger.exception("query %s cannot be ended", query_id)
            self._hopeless[query_id] = now + REFUSED_FOR
            return None

    def _advance(self, life: LockedQuery, now: datetime) -> Effects:
        return self._apply(life, next_move(life.state, now), now)

    def _apply(self, life: LockedQuery, move: Move, now: datetime) -> Effects:
        todo = effects_of(life.state, move, now)
        life.apply(move, now)
        return todo

    def _run_effects(self, todo: Effects | None) -> None:
        """After the commit: publish what was asked, stop what was closed, announce what ended."""
        if todo is None:
            return
        self._send(todo.steps)
        for participant, stop in todo.stops:
            try:
                self.stop(participant, stop)
            except TransientError as error:  # what is generated in vain is recorded as late
                logger.warning("%s", error)
        if todo.ended is not None:
            answer = todo.ended
            logger.info(
                "query %s %s by %s in %.1f s%s", answer.query_id, answer.status, answer.strategy,
                answer.seconds, ", degraded" if answer.degraded else "",
            )  # fmt: skip
            self.announce.ended(answer)

    def _send(self, steps: Sequence[Step]) -> None:
        """Publish and mark. A step whose queue is missing or full stays stranded, for later.

        A step that the broker, or we, cannot send at all is recorded as failed.
        """
        sent: list[str] = []
        lost: list[tuple[Step, str]] = []
        try:
            for step in steps:
                try:
                    self.send(step)
                except (NoConsumer, Overloaded, SettingsError) as error:
                    logger.warning("step %s waits: %s", step.step_id, error)
                    if self._waits_for_good(step, error):
                        lost.append((step, str(error)))
                except TransientError:
                    raise
                except Exception as error:  # a step's own: the others are sent
                    logger.exception("step %s cannot be sent", step.step_id)
                    lost.append((step, plainly(error)))
                else:
                    self._unsent.pop(step.step_id, None)
                    sent.append(step.step_id)
        finally:
            if sent:
                self.mark(sent)
        for step, why in lost:
            self._give_up(step, why)

    def _waits_for_good(self, step: Step, error: Exception) -> bool:
        """Note why a step waits; whether it has waited for a right for too long."""
        now = self.clock()
        known = self._unsent.setdefault(step.step_id, Unsent(since=now, reason=""))
        self._unsent[step.step_id] = Unsent(since=known.since, reason=str(error))
        while len(self._unsent) > KEPT_UNSENT:
            self._unsent.popitem(last=False)
        return isinstance(error, SettingsError) and now - known.since >= REFUSED_FOR

    def _give_up(self, step: Step, why: str) -> None:
        self._unsent.pop(step.step_id, None)
        try:
            self.submit(failure_of(step, UNSENT, why))
        except TransientError:
            raise
        except Exception:  # it expires at its deadline
            logger.exception("step %s cannot be recorded as failed", step.step_id)


def failure_of(step: StepKey, kind: str, reason: str) -> Submission:
    """A failure that is the site's own, as a submission for the step."""
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
