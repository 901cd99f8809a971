"""Feeds the recorded outcomes of a query to its strategy, and compares what it decides. Pure.

A strategy is a function of the record and of the moment it is asked at. Both are recorded: the
moment of an outcome, and the time of the rows that a wake-up left. So the whole life of a query can
be decided again, and has to come out the same, row by row. What no strategy decided is taken as it
is: a query that a caller cancelled, a step given up because it killed its workers.
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

#: What ends a query and is no decision of its strategy.
CANCELLED = "it was cancelled by somebody"


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Where the strategy decides otherwise than it is recorded to have decided."""

    seq: int
    recorded: str
    decided: str


@dataclass(frozen=True, kw_only=True)
class Decisions:
    """What came of deciding a query again."""

    #: Moves that were made again.
    moves: int
    difference: Difference | None = None
    #: Why nothing more could be decided again; None where all of it was.
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
    """The state so far, and the entries that are still to come."""

    def __init__(self, query: Query, entries: list[HistoryEntry]) -> None:
        self.state = QueryState(query=query)
        self.entries = entries
        self.moves = 0

    def run(self) -> Decisions:
        """Every move, at the moments at which the record says that one was made."""
        ended, difference = self._decide(self.state.query.asked_at)
        while self.entries and ended is None and difference is None:
            entry = self.entries[0]
            if isinstance(entry.what, StepOutcome) and entry.what.outcome.status != "expired":
                self.entries.pop(0)
                if entry.what.outcome.status == "late" or self._ended():
                    continue  # nobody was asked
                self._take(entry)
                ended, difference = self._decide(entry.at)
                continue
            ended, difference = self._decide(entry.at)
            if self.entries and self.entries[0] is entry and ended is None:
                told = _told(_row(entry))
                if _cancelled(self.entries, entry.at):
                    ended = CANCELLED
                else:
                    difference = Difference(seq=entry.seq, recorded=told, decided="nothing")
        return Decisions(moves=self.moves, difference=difference, ended_early=ended)

    def _ended(self) -> bool:
        return not any(isinstance(entry.what, QueryEnded) for entry in self.entries)

    def _decide(self, now: datetime) -> tuple[str | None, Difference | None]:
        move = next_move(self.state, now)
        self.moves += 1
        for wanted in _rows(move, self.state):
            entry = self.entries[0] if self.entries else None
            found = _row(entry) if entry else ("nothing", None)
            if _cancelled(self.entries, now):
                return CANCELLED, None
            if entry is None or found != wanted:
                return None, Difference(
                    seq=entry.seq if entry else 0, recorded=_told(found), decided=_told(wanted)
                )
            self.entries.pop(0)
            self._take(entry)
        return None, self._left_over(now)

    def _left_over(self, now: datetime) -> Difference | None:
        """A row of this moment that the strategy did not decide."""
        entry = self.entries[0] if self.entries else None
        if entry is None or entry.at != now or isinstance(entry.what, StepOutcome):
            return None
        if _cancelled(self.entries, now):
            return None
        return Difference(seq=entry.seq, recorded=_told(_row(entry)), decided="nothing")

    def _take(self, entry: HistoryEntry) -> None:
        match entry.what:
            case Step() as step:
                asked = StepState(step=step, asked_at=entry.at)
                self.state = replace(self.state, steps=(*self.state.steps, asked))
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
    """The rows that a move leaves, in the order in which a life records them."""
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
    known = {s.step.step_id for s in state.steps}
    for step in move.steps:
        if step.step_id not in known:
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
    told = [decision.kind, decision.round, decision.reason, decision.detail]
    return "decision", storable_json(told)


def _cancelled(entries: list[HistoryEntry], now: datetime) -> bool:
    """Whether the rows of this moment end the query as no strategy did."""
    here = [entry.what for entry in entries if entry.at == now]
    ends = [what for what in here if isinstance(what, QueryEnded)]
    return any((end.reason or "").startswith("cancelled") for end in ends)


def _told(row: Row) -> str:
    """A row in a few words, without its texts."""
    name, value = row
    match name, value:
        case "step", dict():
            return f"step {value['round']}.{value['act']}.{value['participant']}.{value['index']}"
        case "decision", [kind, number, *_]:
            return f"decision {kind} of round {number}"
        case "answer", dict():
            return f"the answer of {value['chosen'] or 'nobody'} ({value['status']})"
        case (("expired" | "completed" | "failed"), [step_id, _]):
            return f"{name}: {step_id}"
    return f"{name} {value}" if isinstance(value, int) else name
