"""Grading one query's answer, and the draft and the refined answer of each of its clients."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import Engine

from colm.db.reads import answers
from colm.db.reads.answers import recorded_of
from colm.db.reads.completion_listener import wait_for_answer
from colm.evaluation import grading
from colm.evaluation.grading import Grade
from colm.models.messages import Answer
from colm.models.sandbox import runner
from colm.tasks.config.run_config import GraderSettings, RunConfig
from colm.workers.evaluator.plan import Planned, query_id_of

#: Grades a text as the answer to what was planned. May take as long as its programs or judges do.
Grader = Callable[[Planned, str], Grade]
#: Asks one query: its question, its id, its options.
Asks = Callable[[str, str, dict[str, Any]], object]

#: How long one wait for a judge lasts before it is asked again (seconds).
JUDGE_PATIENCE = 60.0


@dataclass(frozen=True, kw_only=True)
class GradedAnswer:
    """What came of a query: the answer's grade, and each client's by stage."""

    answer: Grade
    #: {"ada": {"draft": "wrong", "refined": "correct"}}; None where there is no text.
    clients: dict[str, dict[str, str | None]]


def grader_of(config: RunConfig, engine: Engine, ask: Asks) -> Grader:
    """The grader that the configuration names."""
    settings = config.grader
    if settings.kind == "judge":
        return partial(_judge, engine, ask, settings)
    check = partial(runner.run, limits=limits_of(settings))

    def grade(planned: Planned, text: str) -> Grade:
        return grading.grade(planned.example, text, grader=settings.kind, check=check)

    return grade


def limits_of(settings: GraderSettings) -> runner.Limits:
    """What one program may take."""
    return runner.Limits.of(settings.seconds, settings.memory * 2**20)


def grade_answer(grade: Grader, planned: Planned, answer: Answer, *, clients: bool) -> GradedAnswer:
    """Grade the text of an answer, and those of its `clients`; equal ones once."""
    known: dict[str, Grade] = {}

    def once(text: str) -> Grade:
        if text not in known:
            known[text] = grade(planned, text)
        return known[text]

    def status(text: str | None) -> str | None:
        return None if text is None else once(text).status

    if answer.answer is None:
        raise ValueError("an answer without a text cannot be graded")
    if planned.entry.by_likelihood:
        words = planned.entry.by_likelihood == "words"
        told = answer.detail.get("choice_logprobs")
        best = grading.grade_by_likelihood(planned.example, told, per_character=words)
        return GradedAnswer(answer=best, clients={})
    found = answer.clients.items() if clients else ()
    return GradedAnswer(
        answer=once(answer.answer),
        clients={n: {"draft": status(c.draft), "refined": status(c.refined)} for n, c in found},
    )


def _judge(
    engine: Engine, ask: Asks, settings: GraderSettings, planned: Planned, text: str
) -> Grade:
    """Ask a judge through the queue like everybody else; the same question is asked once."""
    query_id = query_id_of(planned.run, planned.key, "judge", text)
    options = {
        **grading.judge_options(planned.example, text),
        "strategy": "judge",
        "server": settings.judge,
        "lane": "overnight",
        "run": planned.run,
    }
    options = {name: value for name, value in options.items() if value is not None}
    while not answers.has_ended(engine, query_id):
        if not recorded_of(engine, [query_id]):
            ask(planned.example.question, query_id, options)
        until = time.monotonic() + JUDGE_PATIENCE
        while time.monotonic() < until and not wait_for_answer(engine, query_id, 5.0):
            pass
    standing = answers.answer_of(engine, query_id)
    if standing.answer is None or standing.answer.answer is None:
        return Grade(status="error", reason=f"the judge gave no verdict: {standing.reason}")
    verdict = standing.answer.detail
    one, other = verdict["orders"]
    return grading.grade_judgement(verdict["verdict"], (one, other))
