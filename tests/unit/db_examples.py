"""What the contracts of the record share: fixtures, and queries, steps and outcomes to fill it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from colm.db.connection import connect
from colm.db.reads.history import History, query_history
from colm.db.record.store import SqlRecord
from colm.models.dead_letter import DeadLetter
from colm.models.messages import (
    Act,
    Answer,
    Attempt,
    Completion,
    Deadlines,
    Participant,
    Query,
    Sampling,
    Step,
    StepError,
    Turn,
)
from colm.models.strategies.base import Ask, Close, Decision, Finish, Outcome

NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
LATER = NOW + timedelta(seconds=30)
#: What a text can be made of: four alphabets, an astral character, a right-to-left mark, quotes.
ANY_TEXT = "Größe 大きさ размер 🦙 \u200fعربى 'it''s' \"x\" \\u0000 %s :name \t\r\n"


def a_query(query_id: str = "query-0001", **changes: object) -> Query:
    fields: dict[str, object] = {
        "query_id": query_id,
        "question": f"Why? {ANY_TEXT}",
        "strategy": "colm",
        "options": {"rounds": 2, "see_own_draft": True, "note": ANY_TEXT},
        "clients": [
            Participant(name=name, role="client", persona=ANY_TEXT) for name in ("alice", "bob")
        ],
        "server": Participant(name="oracle", role="server"),
        "deadlines": Deadlines(query=100.0),
        "seed": 2**63 - 1,
        "asked_at": NOW,
    }
    return Query.model_validate(fields | changes)


def a_step(
    query_id: str = "query-0001",
    participant: str = "alice",
    *,
    act: Act = "draft",
    round: int = 1,
    index: int = 0,
) -> Step:
    return Step(
        query_id=query_id,
        round=round,
        act=act,
        participant=participant,
        index=index,
        role="client",
        messages=(Turn(role="system", content="Be short."), Turn(role="user", content=ANY_TEXT)),
        sampling=Sampling(stop=("\n\n",), seed=2**63 - 1),
        prompt_version="draft-1",
        deadline_at=NOW + timedelta(seconds=20),
    )


def completed(
    text: str = ANY_TEXT, *, thought: str = ANY_TEXT, worker: str = "worker-1"
) -> Outcome:
    completion = Completion(
        text=text,
        thought=thought,
        finish_reason="stop",
        prompt_tokens=11,
        completion_tokens=7,
        cached_tokens=3,
        queued_s=0.001,
        first_token_s=0.1,
        total_s=1.25,
        batch_size=2,
        engine="scripted",
        model="none",
        dtype="float32",
        device="cpu",
        seed=5,
        mean_logprob=-0.1,
    )
    return Outcome(status="completed", at=LATER, worker=worker, completion=completion)


def failed(reason: str = "no memory") -> Outcome:
    error = StepError(kind="engine_error", reason=reason)
    return Outcome(status="failed", at=LATER, worker="worker-2", error=error)


def an_answer(query_id: str = "query-0001", **changes: object) -> Answer:
    fields: dict[str, object] = {
        "query_id": query_id,
        "strategy": "colm",
        "status": "answered",
        "answer": ANY_TEXT,
        "asked_at": NOW,
        "ended_at": LATER,
    }
    return Answer.model_validate(fields | changes)


def an_attempt(step: Step, attempt_id: str = "attempt-1", **changes: object) -> Attempt:
    fields = step.key.model_dump() | {
        "attempt_id": attempt_id,
        "kind": "returned",
        "worker": f"worker-3 {ANY_TEXT}",
    }
    return Attempt.model_validate(fields | changes)


def a_decision(kind: str = "panel") -> Decision:
    detail = {"of": ("alice", "bob"), "share": 0.5, "nested": {"text": ANY_TEXT, "none": None}}
    return Decision(kind=kind, round=1, reason=ANY_TEXT, detail=detail)


def asking(*steps: Step, close: Step | None = None) -> Ask:
    return Ask(
        steps=steps,
        wake_at=NOW + timedelta(seconds=20),
        closes=(Close(step_id=close.step_id, reason="too slow"),) if close else (),
        decisions=(a_decision(),),
    )


def finishing(query_id: str = "query-0001", **changes: object) -> Finish:
    return Finish(answer=an_answer(query_id, **changes), decisions=(a_decision("chosen"),))


def dead_letter(message_id: str, **changes: Any) -> DeadLetter:
    fields: dict[str, Any] = {"task": "colm.draft", "queue": "colm.draft.alice", "at": NOW}
    fields |= {"reason": "delivery_limit", "body": ANY_TEXT}
    return DeadLetter(message_id=message_id, **(fields | changes))


def record_whole_life(record: SqlRecord, query_id: str = "query-0001") -> None:
    """Two drafts asked; one comes, one is handed back, expires and comes late; answered.

    A row in every table.
    """
    alice, bob = a_step(query_id, "alice"), a_step(query_id, "bob")
    refine = a_step(query_id, "alice", act="refine", round=2)
    with record.begin(a_query(query_id)) as life:
        life.apply(asking(alice, bob), NOW)
    record.mark_dispatched([alice.step_id, bob.step_id], NOW)
    with record.open(query_id) as life:
        life.add_attempt(an_attempt(bob), LATER)
        life.add_outcome(alice, completed())
        life.apply(asking(refine, close=bob), LATER)
    with record.open(query_id) as life:
        life.add_outcome(bob, completed("too late"))
        life.add_outcome(refine, failed())
        life.apply(finishing(query_id), LATER)
    letter = dead_letter(f"letter of {query_id}", query_id=query_id, step_id=bob.step_id)
    record.add_dead_letter(letter)


def history(engine: Engine, query_id: str = "query-0001") -> History:
    found = query_history(engine, query_id)
    assert found is not None
    return found


class DatabaseContract:
    """Promises that hold on every database. Heirs give the `url` of an empty, migrated one."""

    @pytest.fixture
    def engine(self, url: str) -> Iterator[Engine]:
        engine = connect(url, pool_size=16)
        yield engine
        engine.dispose()

    @pytest.fixture
    def record(self, engine: Engine) -> SqlRecord:
        return SqlRecord(engine)
