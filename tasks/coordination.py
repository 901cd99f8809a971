"""The coordinator: between the record, which remembers, and the strategy, which decides.

Every entry point does the same three things: open the query under its lock and add what came in;
ask the strategy and record its move, in the same commit; then, after the commit, publish the new
steps with confirms. A crash between commit and publish leaves steps that are asked but not marked
as dispatched; `republish_stranded` finds them. A crash after the publish repeats a message, and
every repeat is harmless because the record knows each step by its key.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from models.attempts import MOST_ATTEMPTS, Again, AttemptLimits, GiveUp, what_next
from models.errors import InvalidAsk, NoConsumer, Overloaded, TransientError
from models.messages import (
    MAX_REASON_CHARS,
    Answer,
    Attempt,
    Step,
    StepError,
    Submission,
    seconds_between,
)
from models.roster import Roster, make_request, resolve
from models.strategies import STRATEGIES
from models.strategies.base import Ask, Decision, Finish, Move, Outcome, QueryState
from tasks.ports import Life, Receipt, Record

logger = logging.getLogger(__name__)

#: How long a publish may take before its step counts as stranded (seconds).
STRANDED_AFTER = timedelta(seconds=10)


class Announcer(Protocol):
    """Hears of every end of a query, for Flower and metrics; told at least once, never asked."""

    def refused(self, query_id: str, reason: str) -> None: ...

    def ended(self, answer: Answer) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Coordinator:
    """Advances queries. Safe to call from many threads and many processes at once."""

    record: Record
    roster: Roster
    send: Callable[[Step], None]
    #: Marks steps as dispatched; may group many marks into one commit.
    mark: Callable[[Sequence[str]], None]
    announce: Announcer
    clock: Callable[[], datetime]
    #: How often a step may come back from workers that died.
    limits: AttemptLimits

    def accept(self, query_id: str, question: Any, options: Mapping[str, Any]) -> None:
        """Record a caller's query and ask its first steps; an unusable one is refused, recorded."""
        now = self.clock()
        try:
            request = make_request(question, options)
            query = resolve(request, self.roster, query_id, now)
            with self.record.begin(query) as life:
                move = self._advance(life, now) if not life.ended else None
        except InvalidAsk as error:
            asked = question if isinstance(question, str) else repr(question)
            strategy = str(options.get("strategy", "colm"))
            self.record.refuse(query_id, asked, strategy, str(error), now)
            self.announce.refused(query_id, str(error))
            return
        self._act(move)

    def submit(self, submission: Submission) -> Receipt:
        """Record what became of a step and ask what follows from it."""
        now = self.clock()
        outcome = Outcome(
            status="completed" if submission.completion else "failed",
            at=now,
            worker=submission.worker,
            completion=submission.completion,
            error=submission.error,
        )
        move = None
        with self.record.open(submission.query_id) as life:
            receipt = life.add_outcome(submission, outcome)
            if receipt == "recorded" and not life.ended:
                move = self._advance(life, now)
        self._act(move)
        return receipt

    def attempt(self, attempt: Attempt) -> Receipt:
        """Record that a step may have killed a worker, and ask it again or give it up.

        A repeat asks again, too: whoever recorded it may have died before the publish.
        """
        now, move, again = self.clock(), None, None
        with self.record.open(attempt.query_id) as life:
            receipt = life.add_attempt(attempt, now)
            if receipt in ("recorded", "repeated"):
                match self._verdict(life, attempt):
                    case Again(alone=alone):
                        again = _step(life.state, attempt.step_id, alone=alone)
                    case GiveUp(reason=reason):
                        logger.error("step %s is given up: %s", attempt.step_id, reason)
                        error = StepError(kind="Poison", reason=reason[:MAX_REASON_CHARS])
                        outcome = Outcome(status="failed", at=now, error=error)
                        life.add_outcome(attempt, outcome)
                        move = self._advance(life, now)
        self._act(move)
        if again is not None:
            how = "alone" if again.alone else "in company"
            logger.warning("step %s came back and is asked again, %s", again.step_id, how)
            self._send([again])
        return receipt

    def _verdict(self, life: Life, attempt: Attempt) -> Again | GiveUp | None:
        """None for a start alone, which waits for what becomes of it."""
        tried = life.tried(attempt.step_id)
        if attempt.kind == "alone" and len(tried) < MOST_ATTEMPTS:
            return None
        return what_next(tried, self.limits)

    def wake_due(self, limit: int = 100) -> int:
        """Advance the queries whose deadline or wake-up time has come; returns how many."""
        now = self.clock()
        due = self.record.due(now, limit)
        for query_id in due:
            try:
                self._wake(query_id, now)
            except TransientError:
                raise
            except Exception:  # the oldest is woken first: its fault must not stop all others
                logger.exception("query %s cannot be woken", query_id)
        return len(due)

    def republish_stranded(self, limit: int = 100) -> int:
        """Publish again what a crash may have kept from its queue; returns how many steps."""
        steps = self.record.stranded(self.clock() - STRANDED_AFTER, limit)
        if steps:
            logger.warning("publishing %d steps again that were never dispatched", len(steps))
        self._send(steps)
        return len(steps)

    def _wake(self, query_id: str, now: datetime) -> None:
        with self.record.open(query_id) as life:
            move = self._advance(life, now) if not life.ended else None
        self._act(move)

    def _advance(self, life: Life, now: datetime) -> Ask | Finish | None:
        move = _next_move(life.state, now)
        life.apply(move, now)
        return move if isinstance(move, (Ask, Finish)) else None

    def _act(self, move: Ask | Finish | None) -> None:
        """After the commit: publish what was asked, announce what ended."""
        if isinstance(move, Ask):
            self._send(move.steps)
        elif isinstance(move, Finish):
            self.announce.ended(move.answer)

    def _send(self, steps: Sequence[Step]) -> None:
        """Publish and mark; a step whose queue is missing or full stays stranded, for later."""
        sent: list[str] = []
        try:
            for step in steps:
                try:
                    self.send(step)
                except (NoConsumer, Overloaded) as error:
                    logger.warning("step %s waits: %s", step.step_id, error)
                else:
                    sent.append(step.step_id)
        finally:
            if sent:
                self.mark(sent)


def _step(state: QueryState, step_id: str, *, alone: bool) -> Step:
    step = next(s.step for s in state.steps if s.step.step_id == step_id)
    return step.model_copy(update={"alone": alone})


def _next_move(state: QueryState, now: datetime) -> Move:
    """What the strategy decides; a strategy that breaks ends its query, and no other.

    Raising instead would roll back what came in, and again at every deadline: for ever.
    """
    try:
        return STRATEGIES[state.query.strategy].next_move(state, now)
    except Exception as error:  # the outermost call into a strategy, which may be anyone's
        logger.exception("query %s: the strategy failed", state.query.query_id)
        return _give_up(state, now, f"the strategy failed: {error!r}")


def _give_up(state: QueryState, now: datetime, reason: str) -> Finish:
    """Fail a query whose strategy cannot go on. Looks at nothing that could be at fault."""
    query = state.query
    reason = reason[:MAX_REASON_CHARS]
    answer = Answer(
        query_id=query.query_id,
        strategy=query.strategy,
        status="failed",
        answer=None,
        reason=reason,
        degraded=True,
        seconds=seconds_between(query.asked_at, now),
        asked_at=query.asked_at,
        ended_at=now,
    )
    return Finish(answer=answer, decisions=(Decision(kind="failure", round=1, reason=reason),))
