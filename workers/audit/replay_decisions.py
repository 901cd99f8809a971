"""Feeds the recorded outcomes of a query to its strategy, and compares the decisions. Pure.

A strategy is a function of the record and of the time. Both are recorded, so that every decision
can be made again and compared row by row. Rows that no strategy decided are accepted as they are: a
caller's cancellation, a step abandoned because it killed its workers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from colm.db.columns import storable_json
from colm.db.reads.history import (
    History,
    HistoryEntry,
    QueryAsked,
    QueryEnded,
    RoundStarted,
    StepOutcome,
    StepRedelivered,
    TextsErased,
)
from colm.models.messages import Query, Step
from colm.models.strategies.advance import next_move
from colm.models.strategies.base import Ask, Decision, Finish, Move, QueryState, StepState

Row = tuple[str, Any]

CANCELLED = "it was cancelled"


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The first decision that differs from the record."""

    seq: int
    recorded: str
    decided: str


@dataclass(frozen=True, kw_only=True)
class Decisions:
    """The result of deciding a query again."""

    #: Repeated moves.
    moves: int
    difference: Difference | None = None
    #: Why the replay stopped early; None if it did not.
    ended_early: str | None = None


def replay_decisions(history: History) -> Decisions:
    """Decide the whole recorded query again, up to the first difference."""
    (first, *rest) = [e for e in history.entries if not isinstance(e.what, StepRedelivered)]
    if not isinstance(first.what, QueryAsked) or first.what.query is None:
        return Decisions(moves=0, ended_early="the ask was refused: no strategy was asked")
    if any(isinstance(entry.what, TextsErased) for entry in rest):
        return Decisions(moves=0, ended_early="its texts are erased")
    return _Walk(first.what.query, rest).run()


class _Walk:
    """The state so far, and the remaining entries."""

    def __init__(self, query: Query, entries: list[HistoryEntry]) -> None:
        self.state = QueryState(query=query)
        self.entries = entries
        self.moves = 0

    def run(self) -> Decisions:
        """Makes every move at its recorded time."""
        ended, difference = self._decide(self.state.query.asked_at)
        while self.entries and ended is None and difference is None:
            entry = self.entries[0]
            if isinstance(entry.what, StepOutcome) and entry.what.outcome.status != "expired":
                self.entries.pop(0)
                if entry.what.outcome.status == "late" or self._has_ended():
                    continue  # no decision follows
                self._take(entry)
                ended, difference = self._decide(entry.at)
                continue
            ended, difference = self._decide(entry.at)
            if self.entries and self.entries[0] is entry and ended is None:
                detail = _describe(_row(entry))
                if _cancelled(self.entries, entry.at):
                    ended = CANCELLED
                else:
                    difference = Difference(seq=entry.seq, recorded=detail, decided="nothing")
        return Decisions(moves=self.moves, difference=difference, ended_early=ended)

    def _has_ended(self) -> bool:
        return not any(isinstance(entry.what, QueryEnded) for entry in self.entries)

    def _decide(self, now: datetime) -> tuple[str | None, Difference | None]:
        move = next_move(self.state, now)
        self.moves += 1
        for decided in _rows(move, self.state):
            entry = self.entries[0] if self.entries else None
            recorded = _row(entry) if entry else ("nothing", None)
            if _cancelled(self.entries, now):
                return CANCELLED, None
            if entry is None or recorded != decided:
                return None, Difference(
                    seq=entry.seq if entry else 0,
                    recorded=_describe(recorded),
                    decided=_describe(decided),
                )
            self.entries.pop(0)
            self._take(entry)
        return None, self._left_over(now)

    def _left_over(self, now: datetime) -> Difference | None:
        """A row of this time that the strategy did not decide."""
        entry = self.entries[0] if self.entries else None
        if entry is None or entry.at != now or isinstance(entry.what, StepOutcome):
            return None
        if _cancelled(self.entries, now):
            return None
        return Difference(seq=entry.seq, recorded=_describe(_row(entry)), decided="nothing")

    def _take(self, entry: HistoryEntry) -> None:
        match entry.what:
            case Step() as step:
                state = StepState(step=step, asked_at=entry.at)
                self.state = replace(self.state, steps=(*self.state.steps, state))
            case StepOutcome(step_id=step_id, outcome=outcome):
                steps = tuple(
                    replace(s, outcome=outcome) if s.step.step_id == step_id and s.open else s
                    for s in self.state.steps
                )
                self.state = replace(self.state, steps=steps)
            case Decision() as decision:
                decisions = (*self.state.decisions, decision)
                self.state = replace(self.state, decisions=decisions)


def _rows(move: Move, state: QueryState) -> Iterator[Row]:
    """The rows of a move, in the order of recording."""
    if not isinstance(move, (Ask, Finish)):
        return
    for close in move.closes:
        yield "expired", [close.step_id, storable_json(close.reason)]
    for decision in move.decisions:
        yield _decision(decision)
    if isinstance(move, Finish):
        yield "answer", storable_json(move.answer.model_dump(mode="json"))
        return
    rounds = {s.step.round for s in state.steps}
    step_ids = {s.step.step_id for s in state.steps}
    for step in move.steps:
        if step.step_id not in step_ids:
            if step.round not in rounds:
                rounds.add(step.round)
                yield "round", step.round
            yield _step(step)


def _row(entry: HistoryEntry) -> Row:
    match entry.what:
        case RoundStarted(round=number):
            return "round", number
        case Step() as step:
            return _step(step)
        case Decision() as decision:
            return _decision(decision)
        case StepOutcome(step_id=step_id, outcome=outcome):
            reason = outcome.error.reason if outcome.error else None
            return outcome.status, [step_id, reason]
        case QueryEnded(answer=answer) if answer is not None:
            return "answer", storable_json(answer.model_dump(mode="json"))
    return type(entry.what).__name__, None


def _step(step: Step) -> Row:
    return "step", storable_json(step.model_dump(mode="json", exclude={"alone"}))


def _decision(decision: Decision) -> Row:
    fields = [decision.kind, decision.round, decision.reason, decision.detail]
    return "decision", storable_json(fields)


def _cancelled(entries: list[HistoryEntry], now: datetime) -> bool:
    """Whether the rows of this moment end the query as no strategy did."""
    here = [entry.what for entry in entries if entry.at == now]
    ends = [what for what in here if isinstance(what, QueryEnded)]
    return any((end.reason or "").startswith("cancelled") for end in ends)


def _describe(row: Row) -> str:
    """A row in a few words, without its texts."""
    name, value = row
    match name, value:
        case "step", dict():
            return f"step {value['round']}.{value['act']}.{value['participant']}.{value['index']}"
        case "decision", [kind, number, *_]:
            return f"decision {kind} of round {number}"
        case "answer", dict():
            return f"the answer of {value['chosen'] or 'none'} ({value['status']})"
        case (("expired" | "completed" | "failed"), [step_id, _]):
            return f"{name}: {step_id}"
    return f"{name} {value}" if isinstance(value, int) else name
