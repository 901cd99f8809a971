"""Grading one query's answer, and the draft and the refined answer of each of its clients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from models import answers
from models.messages import Answer
from tasks.evaluation_config import GraderSettings
from workers.evaluator_data import Example


@dataclass(frozen=True, kw_only=True)
class Graded:
    """What a grader says of one text."""

    #: None: no answer was found in the text.
    correct: bool | None
    extracted: str | None = None
    reason: str | None = None


Grade = Callable[[Example, str], Graded]


@dataclass(frozen=True, kw_only=True)
class GradedAnswer:
    """What came of a query: the answer's grade, and each client's by stage."""

    answer: Graded
    #: {"ada": {"draft": True, "refined": None}}; None where there is no text or no answer in it.
    clients: dict[str, dict[str, bool | None]]


def grader_of(settings: GraderSettings) -> Grade:
    """The grader that the settings name."""

    def grade(example: Example, text: str) -> Graded:
        kind: Any = example.kind if settings.kind == "auto" else settings.kind
        found = answers.extract(text, kind, question=example.question)
        if found is None:
            return Graded(correct=None, reason=f"no {kind} answer was found in the text")
        return Graded(correct=answers.same(found, example.reference, kind), extracted=found)

    return grade


def grade_answer(grade: Grade, example: Example, answer: Answer) -> GradedAnswer:
    """Grade every text of an answer, equal ones once."""
    known: dict[str, Graded] = {}

    def once(text: str | None) -> Graded:
        if text is None:
            return Graded(correct=None, reason="there is no text")
        if text not in known:
            known[text] = grade(example, text)
        return known[text]

    clients = {
        name: {"draft": once(client.draft).correct, "refined": once(client.refined).correct}
        for name, client in answer.clients.items()
    }
    return GradedAnswer(answer=once(answer.answer), clients=clients)
