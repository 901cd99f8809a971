"""One query under its lock.

Changes are made in memory and become rows when the transaction ends, one INSERT a table. `state` is
what a fresh read of those rows would give.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import assert_never

from sqlalchemy import Table

from colm.db.record.rows import (
    FIRST_SEQ,
    Fields,
    QueryProgress,
    answer_row,
    attempt_of,
    attempt_row,
    decision_row,
    outcome_row,
    recordable_decision,
    recordable_outcome,
    step_row,
)
from colm.db.schema import tables
from colm.models.messages import MAX_REASON_CHARS, Answer, Attempt, Query, Step, StepError, StepKey
from colm.models.receipt import Receipt
from colm.models.redelivery import Redelivery
from colm.models.strategies.base import (
    Ask,
    Close,
    Decision,
    Finish,
    Move,
    Outcome,
    QueryState,
    StepState,
    Wait,
)

#: Late outcomes recorded of one step: a participant may send any number.
MAX_LATE = 8

#: Insertion order: foreign keys point to earlier tables.
WRITE_ORDER = (
    tables.rounds,
    tables.steps,
    tables.attempts,
    tables.outcomes,
    tables.decisions,
    tables.answers,
)


class SqlLockedQuery:
    """A query's state, and its new rows since it was opened."""

    def __init__(
        self,
        state: QueryState,
        progress: QueryProgress,
        *,
        late: Callable[[str], list[Outcome]] = lambda _step_id: [],
        redeliveries: Callable[[str], list[Redelivery]] = lambda _step_id: [],
    ) -> None:
        """`late` and `redeliveries` read a step's late outcomes and its attempts, on demand."""
        self.progress = progress
        self._query = state.query
        self._steps = {s.step.step_id: s for s in state.steps}
        self._decisions = list(state.decisions)
        self._late: dict[str, list[Outcome]] = {}
        self._read_late = late
        self._redeliveries: dict[str, list[Redelivery]] = {}
        self._read_redeliveries = redeliveries
        self._rows: dict[str, list[Fields]] = defaultdict(list)

    @classmethod
    def new(cls, query: Query) -> SqlLockedQuery:
        """A query with only its own row; due at once."""
        progress = QueryProgress(open=True, wake_at=query.asked_at, next_seq=FIRST_SEQ + 1)
        return cls(QueryState(query=query), progress)

    @property
    def state(self) -> QueryState:
        return QueryState(
            query=self._query, steps=tuple(self._steps.values()), decisions=tuple(self._decisions)
        )

    @property
    def ended(self) -> bool:
        return not self.progress.open

    @property
    def new_rows(self) -> Sequence[tuple[Table, list[Fields]]]:
        """Rows to insert, by table in order of insertion."""
        return [(t, self._rows[t.name]) for t in WRITE_ORDER if self._rows[t.name]]

    def add_outcome(self, key: StepKey, outcome: Outcome) -> Receipt:
        """Record the outcome that a participant submits.

        The first outcome of an open step decides. For a step that was closed, or that was open
        when the query ended, it is recorded as late. A repeat changes nothing.
        """
        step = self._steps.get(key.step_id)
        if step is None:
            return "unasked"
        outcome = recordable_outcome(outcome)
        if step.open and not self.ended:
            self._decide(step, outcome)
            return "recorded"
        if step.outcome is not None and step.outcome.status != "expired":
            return "repeated"
        return self._keep_late(key.step_id, replace(outcome, status="late"))

    def add_attempt(self, attempt: Attempt, at: datetime) -> Receipt:
        """Record an attempt at an open step that may have killed a worker."""
        step = self._steps.get(attempt.step_id)
        if step is None:
            return "unasked"
        if self.ended or not step.open:
            return "late"
        redeliveries = self._attempts(attempt.step_id)
        row = attempt_row(attempt, self.progress.next_seq, at)
        new = attempt_of(row)
        if any(earlier.attempt_id == new.attempt_id for earlier in redeliveries):
            return "repeated"
        self._take_seq()
        redeliveries.append(new)
        self._rows[tables.attempts.name].append(row)
        return "recorded"

    def redelivery_history(self, step_id: str) -> tuple[Redelivery, ...]:
        """The recorded attempts at a step that may have killed a worker, oldest first."""
        return tuple(self._attempts(step_id))

    def _attempts(self, step_id: str) -> list[Redelivery]:
        if step_id not in self._redeliveries:
            self._redeliveries[step_id] = self._read_redeliveries(step_id)
        return self._redeliveries[step_id]

    def apply(self, move: Move, now: datetime) -> None:
        """Record `move`. Known steps, and closes of steps with an outcome, change nothing.

        Raises ValueError if the query has ended, KeyError for a close of an unknown step.
        """
        if self.ended:
            raise ValueError(f"query {self._query.query_id} has ended: nothing can be applied")
        match move:
            case Ask():
                self._close(move.closes, now)
                self._decide_all(move.decisions, now)
                self._ask(move.steps, now)
                self.progress = replace(self.progress, wake_at=move.wake_at)
            case Wait():
                self.progress = replace(self.progress, wake_at=move.wake_at)
            case Finish():
                self._close(move.closes, now)
                self._decide_all(move.decisions, now)
                self._finish(move.answer)
            case _:
                assert_never(move)

    def _decide(self, step: StepState, outcome: Outcome) -> None:
        id = step.step.step_id
        self._steps[id] = replace(step, outcome=outcome)
        self._add_outcome_row(id, outcome)

    def _keep_late(self, step_id: str, outcome: Outcome) -> Receipt:
        if step_id not in self._late:
            self._late[step_id] = self._read_late(step_id)
        recorded = self._late[step_id]
        if len(recorded) >= MAX_LATE or any(
            replace(other, at=outcome.at) == outcome for other in recorded
        ):
            return "repeated"
        self._late[step_id].append(outcome)
        self._add_outcome_row(step_id, outcome)
        return "late"

    def _add_outcome_row(self, step_id: str, outcome: Outcome) -> None:
        row = outcome_row(outcome, self._query.query_id, step_id, self._take_seq())
        self._rows[tables.outcomes.name].append(row)

    def _close(self, closes: Iterable[Close], now: datetime) -> None:
        for close in closes:
            step = self._steps[close.step_id]
            if step.open:
                reason = StepError(kind="expired", reason=close.reason[:MAX_REASON_CHARS])
                expired = Outcome(status="expired", at=now, error=reason)
                self._decide(step, recordable_outcome(expired))

    def _decide_all(self, decisions: Iterable[Decision], now: datetime) -> None:
        for decision in decisions:
            decision = recordable_decision(decision)
            self._decisions.append(decision)
            row = decision_row(decision, self._query.query_id, self._take_seq(), now)
            self._rows[tables.decisions.name].append(row)

    def _ask(self, steps: Iterable[Step], now: datetime) -> None:
        rounds = {s.step.round for s in self._steps.values()}
        for step in steps:
            if step.step_id in self._steps:
                continue
            if step.round not in rounds:
                rounds.add(step.round)
                self._start_round(step.round, now)
            self._steps[step.step_id] = StepState(step=step, asked_at=now)
            self._rows[tables.steps.name].append(step_row(step, self._take_seq(), now))

    def _start_round(self, number: int, now: datetime) -> None:
        row = {
            "query_id": self._query.query_id,
            "round": number,
            "seq": self._take_seq(),
            "at": now,
        }
        self._rows[tables.rounds.name].append(row)

    def _finish(self, answer: Answer) -> None:
        self._rows[tables.answers.name].append(answer_row(answer, self._query, self._take_seq()))
        self.progress = replace(self.progress, open=False)

    def _take_seq(self) -> int:
        seq = self.progress.next_seq
        self.progress = replace(self.progress, next_seq=seq + 1)
        return seq
