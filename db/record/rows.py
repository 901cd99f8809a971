"""Conversion between messages and table rows. A message survives the round trip unchanged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, Table

from colm.db.columns import storable, storable_json
from colm.models.messages import Answer, Attempt, Completion, Query, Step, StepError
from colm.models.redelivery import Redelivery
from colm.models.strategies.base import Decision, Outcome

Fields = dict[str, Any]
_PLAN = ("options", "clients", "server", "deadlines", "seed", "lane", "run")
_STEP = (
    *("step_id", "query_id", "round", "act", "participant", "index", "role", "prompt_version"),
    *("deadline_at", "lane"),
)
_COMPLETION = tuple(Completion.model_fields)


def split(row: Row[Any], *tables: Table) -> Iterator[Fields]:
    """The fields of each table in turn, of a row selected from all of `tables` in this order."""
    start = 0
    for table in tables:
        names = table.c.keys()
        yield dict(zip(names, row[start : start + len(names)], strict=True))
        start += len(names)


def query_row(query: Query, seq: int) -> Fields:
    plan = query.model_dump(mode="json", include=set(_PLAN))
    return {
        "query_id": query.query_id,
        "seq": seq,
        "question": query.question,
        "strategy": query.strategy,
        "asked_at": query.asked_at,
        "deadline_at": query.asked_at + timedelta(seconds=query.deadlines.query),
        **plan,
        "images": list(query.images) or None,
    }


def query_of(row: Mapping[str, Any]) -> Query:
    names = ("query_id", "question", "strategy", "asked_at", *_PLAN)
    values = {name: row[name] for name in names}
    return Query.model_validate(values | {"images": row["images"] or ()})


def step_row(step: Step, seq: int, asked_at: datetime) -> Fields:
    return {
        **{name: getattr(step, name) for name in _STEP},
        "seq": seq,
        "messages": [turn.model_dump() for turn in step.messages],
        "sampling": step.sampling.model_dump(mode="json"),
        "choices": list(step.choices) or None,
        "asked_at": asked_at,
    }


def step_of(row: Mapping[str, Any]) -> Step:
    values = {name: row[name] for name in Step.model_fields if row.get(name) is not None}
    return Step.model_validate(values)


def outcome_row(outcome: Outcome, query_id: str, step_id: str, seq: int) -> Fields:
    completion = outcome.completion.model_dump() if outcome.completion else {}
    # NULL, as in rows from before the column existed.
    completion["thought"] = completion.get("thought") or None
    return {
        "query_id": query_id,
        "seq": seq,
        "step_id": step_id,
        "status": outcome.status,
        "at": outcome.at,
        "worker": outcome.worker,
        "error_kind": outcome.error.kind if outcome.error else None,
        "error_reason": outcome.error.reason if outcome.error else None,
        **{name: completion.get(name) for name in _COMPLETION},
    }


def outcome_of(row: Mapping[str, Any]) -> Outcome:
    completion, error = None, None
    if row["text"] is not None:
        values = {name: row[name] for name in _COMPLETION}
        completion = Completion.model_validate(values | {"thought": row["thought"] or ""})
    if row["error_kind"] is not None:
        error = StepError(kind=row["error_kind"], reason=row["error_reason"])
    return Outcome(
        status=row["status"], at=row["at"], worker=row["worker"], completion=completion, error=error
    )


def attempt_row(attempt: Attempt, seq: int, at: datetime) -> Fields:
    return {
        "query_id": attempt.query_id,
        "seq": seq,
        "step_id": attempt.step_id,
        "attempt_id": _attempt_key(attempt.step_id, storable(attempt.attempt_id)),
        "kind": attempt.kind,
        "worker": storable(attempt.worker),
        "at": at,
    }


def attempt_of(row: Mapping[str, Any]) -> Redelivery:
    return Redelivery(
        attempt_id=row["attempt_id"].removeprefix(_attempt_key(row["step_id"], "")),
        kind=row["kind"],
        worker=row["worker"],
        at=row["at"],
    )


def _attempt_key(step_id: str, attempt_id: str) -> str:
    """The id within its step: participants choose attempt ids, so two may choose the same."""
    return f"{step_id}:{attempt_id}"


def decision_row(decision: Decision, query_id: str, seq: int, at: datetime) -> Fields:
    return {"query_id": query_id, "seq": seq, "at": at, **asdict(decision)}


def decision_of(row: Mapping[str, Any]) -> Decision:
    return Decision(**{field.name: row[field.name] for field in fields(Decision)})


def answer_row(answer: Answer, query: Query, seq: int) -> Fields:
    return {
        "query_id": query.query_id,
        "seq": seq,
        "status": answer.status,
        "reason": answer.reason,
        "answer": answer.model_dump(mode="json"),
        "asked_at": query.asked_at,
        "ended_at": answer.ended_at,
    }


def recordable_outcome(outcome: Outcome) -> Outcome:
    """`outcome` as it will be read back: a strategy sees the same before and after."""
    completion, error = outcome.completion, outcome.error
    if completion is not None:
        texts = {"text": storable(completion.text), "thought": storable(completion.thought)}
        completion = completion.model_copy(update=texts)
    if error is not None:
        error = StepError(kind=storable(error.kind), reason=storable(error.reason))
    return replace(outcome, completion=completion, error=error, worker=storable(outcome.worker))


def recordable_decision(decision: Decision) -> Decision:
    return replace(
        decision, reason=storable(decision.reason), detail=storable_json(decision.detail)
    )


#: The seq of every query's own row.
FIRST_SEQ = 1


@dataclass(frozen=True, kw_only=True)
class QueryProgress:
    """A query's row in `progress`."""

    open: bool
    #: The next wake-up of the strategy.
    wake_at: datetime
    #: The `seq` of the next row.
    next_seq: int
    #: The hash of the latest row; None for a row from before hashes.
    head: str | None = None
    #: A checkpoint covers every row.
    sealed: bool = False
