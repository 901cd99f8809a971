"""A record in memory that keeps the ports of `colm.tasks.interfaces`, and notes when it commits."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NamedTuple

from colm.models.dead_letter import DeadLetter
from colm.models.errors import UnknownQuery
from colm.models.messages import Answer, Attempt, Query, Step, StepKey
from colm.models.receipt import Receipt
from colm.models.redelivery import Redelivery
from colm.models.strategies.base import Ask, Decision, Finish, Move, Outcome, QueryState, StepState
from colm.models.strategies.stages import expired


@dataclass(kw_only=True)
class MemoryLife:
    """One query; what it says to a submission is what the record on a database says."""

    query: Query
    steps: dict[str, StepState] = field(default_factory=dict)
    decisions: list[Decision] = field(default_factory=list)
    attempts: dict[str, tuple[Redelivery, ...]] = field(default_factory=dict)
    answer: Answer | None = None
    wake_at: datetime | None = None

    @property
    def state(self) -> QueryState:
        return QueryState(
            query=self.query, steps=tuple(self.steps.values()), decisions=tuple(self.decisions)
        )

    @property
    def ended(self) -> bool:
        return self.answer is not None

    def add_outcome(self, key: StepKey, outcome: Outcome) -> Receipt:
        step = self.steps.get(key.step_id)
        if step is None:
            return "unasked"
        if step.outcome is not None and step.outcome.status != "expired":
            return "repeated"
        if step.outcome is not None or self.ended:
            return "late"
        self.steps[key.step_id] = replace(step, outcome=outcome)
        return "recorded"

    def add_attempt(self, attempt: Attempt, at: datetime) -> Receipt:
        step = self.steps.get(attempt.step_id)
        if step is None:
            return "unasked"
        if self.ended or not step.open:
            return "late"
        known = self.attempts.get(attempt.step_id, ())
        if any(tried.attempt_id == attempt.attempt_id for tried in known):
            return "repeated"
        id, kind, worker = attempt.attempt_id, attempt.kind, attempt.worker
        new = Redelivery(attempt_id=id, kind=kind, worker=worker, at=at)
        self.attempts[attempt.step_id] = (*known, new)
        return "recorded"

    def redelivery_history(self, step_id: str) -> Sequence[Redelivery]:
        return self.attempts.get(step_id, ())

    def apply(self, move: Move, now: datetime) -> None:
        assert not self.ended, "nothing follows a Finish"
        if isinstance(move, (Ask, Finish)):
            for close in move.closes:
                step = self.steps[close.step_id]
                self.steps[close.step_id] = replace(step, outcome=expired(close.reason, now))
            self.decisions += move.decisions
        if isinstance(move, Finish):
            self.answer, self.wake_at = move.answer, None
            return
        self.wake_at = move.wake_at
        for asked in move.steps if isinstance(move, Ask) else ():
            self.steps.setdefault(asked.step_id, StepState(step=asked, asked_at=now))

    def copy(self) -> MemoryLife:
        return replace(
            self,
            steps=dict(self.steps),
            decisions=list(self.decisions),
            attempts=dict(self.attempts),
        )


class Refusal(NamedTuple):
    """An ask that could not become a query."""

    question: str
    strategy: str
    reason: str
    at: datetime


class MemoryRecord:
    """Commits on a clean exit, forgets on an exception, one coordinator at a time."""

    def __init__(self) -> None:
        self.lives: dict[str, MemoryLife] = {}
        self.refused: dict[str, Refusal] = {}
        self.marked: dict[str, datetime] = {}
        self.letters: dict[str, DeadLetter] = {}
        #: What happened in which order; others may add to it.
        self.log: list[str] = []
        self._lock = threading.RLock()

    @contextmanager
    def begin(self, query: Query) -> Iterator[MemoryLife]:
        with self._changing(self.lives.get(query.query_id) or MemoryLife(query=query)) as life:
            yield life

    @contextmanager
    def open(self, query_id: str) -> Iterator[MemoryLife]:
        if query_id not in self.lives:
            raise UnknownQuery(f"no query {query_id!r}")
        with self._changing(self.lives[query_id]) as life:
            yield life

    @contextmanager
    def _changing(self, stored: MemoryLife) -> Iterator[MemoryLife]:
        with self._lock:
            life = stored.copy()
            yield life
            self.lives[life.query.query_id] = life
            self.log.append("commit")

    def refuse(
        self, query_id: str, question: str, strategy: str, reason: str, now: datetime
    ) -> None:
        if query_id not in self.lives:
            self.refused.setdefault(query_id, Refusal(question, strategy, reason, now))

    def due(self, now: datetime, limit: int) -> Sequence[str]:
        waiting = [(v.wake_at, k) for k, v in self.lives.items() if v.wake_at and v.wake_at <= now]
        return [query_id for _, query_id in sorted(waiting)[:limit]]

    def stranded(self, asked_before: datetime, limit: int) -> Sequence[Step]:
        states = [s for v in self.lives.values() if not v.ended for s in v.steps.values()]
        found = [s.step for s in states if s.open and s.asked_at < asked_before]
        return [step for step in found if step.step_id not in self.marked][:limit]

    def mark_dispatched(self, step_ids: Iterable[str], at: datetime) -> None:
        self.marked.update(dict.fromkeys(step_ids, at))

    def add_dead_letter(self, letter: DeadLetter) -> None:
        self.letters.setdefault(letter.message_id, letter)
