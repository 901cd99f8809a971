"""Queries, steps and completions to write tests with."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from colm.models.messages import (
    Act,
    Answer,
    Completion,
    Deadlines,
    Participant,
    Query,
    Role,
    Sampling,
    Step,
    StepError,
    StepKey,
    Submission,
    Turn,
)

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
DEADLINES = Deadlines(select=10, draft=20, synthesize=30, refine=40, query=1000)
QUESTION = "Why is the sky blue?"
SERVER = Participant(name="main", role="server", sampling=Sampling(temperature=0.3))


def seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


def a_client(name: str) -> Participant:
    return Participant(name=name, role="client", persona=f"You are {name}.", domain=f"{name}'s own")


def a_query(*clients: str, deadlines: Deadlines = DEADLINES, **changes: Any) -> Query:
    """A query for the strategy `colm`; `options` go before all else that `changes` says."""
    fields: dict[str, Any] = {
        "query_id": "query-0001",
        "question": QUESTION,
        "strategy": "colm",
        "options": {},
        "clients": [a_client(name) for name in clients],
        "server": SERVER,
        "deadlines": deadlines,
        "seed": 7,
        "asked_at": NOW,
    }
    return Query.model_validate(fields | changes)


def a_step(
    participant: str = "ada",
    act: Act = "draft",
    *,
    role: Role = "client",
    query_id: str = "query-0001",
    content: str = QUESTION,
    deadline: float = 20,
) -> Step:
    return Step(
        query_id=query_id,
        round=1,
        act=act,
        participant=participant,
        role=role,
        messages=(Turn(role="user", content=content),),
        sampling=Sampling(seed=1),
        prompt_version="test",
        deadline_at=NOW + seconds(deadline),
    )


def a_completion(text: str = "Because.", **changes: Any) -> Completion:
    fields: dict[str, Any] = {
        "text": text,
        "finish_reason": "stop",
        "prompt_tokens": 10,
        "completion_tokens": 3,
        "total_s": 0.5,
        "engine": "scripted",
        "model": "none",
    }
    return Completion.model_validate(fields | changes)


def key_of(step: StepKey) -> dict[str, Any]:
    return step.model_dump(include=set(StepKey.model_fields))


def submitted(step: StepKey, text: str = "Because.") -> Submission:
    return Submission(**key_of(step), worker="test", completion=a_completion(text))


def failed(step: StepKey, reason: str = "no memory", kind: str = "EngineError") -> Submission:
    return Submission(**key_of(step), worker="test", error=StepError(kind=kind, reason=reason))


def an_answer(**changes: Any) -> Answer:
    fields: dict[str, Any] = {
        "query_id": "query-0001",
        "strategy": "colm",
        "status": "answered",
        "answer": "Because.",
        "asked_at": NOW,
        "ended_at": NOW + seconds(3),
    }
    return Answer.model_validate(fields | changes)
