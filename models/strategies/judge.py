"""LLM as a judge (arXiv 2306.05685): a server compares two anonymous answers in both orders.

Judges favour the answer that comes first (position bias). Different verdicts are therefore a tie.
"""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Annotated

from pydantic import Field

from colm.models.answers.verdicts import Verdict, read_verdict
from colm.models.errors import InvalidAsk
from colm.models.messages import Message, Query, Step
from colm.models.prompts import panels
from colm.models.strategies.base import Ask, Move, QueryState, Wait
from colm.models.strategies.cope.report import missing_steps
from colm.models.strategies.stages import Chosen, close_stage, end, make_step

#: Continuations for `by_likelihood`.
CHOICES = ("A", "B", "TIE")

Judged = Annotated[str, Field(max_length=100_000)]


class JudgeOptions(Message):
    #: The two answers to compare; required.
    answers: tuple[Judged, Judged] | None = None
    #: A correct answer for the judge to read.
    reference: Judged | None = None
    #: Whether the verdict is the likeliest of A, B and TIE instead of a generated reply.
    by_likelihood: bool = False


class Judge:
    options = JudgeOptions

    def check(self, query: Query) -> None:
        if JudgeOptions.model_validate(query.options).answers is None:
            raise InvalidAsk("strategy 'judge' compares two answers: answers=[one, other]")
        if query.server is None:
            raise InvalidAsk("strategy 'judge' needs a server; none is configured")

    def next_move(self, state: QueryState, now: datetime) -> Move:
        if not state.steps:
            steps = _both_orders(state.query, now)
            return Ask(steps=steps, wake_at=steps[0].deadline_at)
        closed = close_stage(state, now)
        if isinstance(closed, Wait):
            return closed
        replies = [s.completion.text for s in closed.steps if s.completion is not None]
        notes = missing_steps(closed.state)
        if len(replies) < 2:
            return end(
                closed.state, now, None, failure=closed.reasons(), closes=closed.closes, notes=notes
            )
        orders = (read_verdict(replies[0]), swapped(read_verdict(replies[1])))
        verdict = combine_orders(*orders)
        server = closed.steps[0].step.participant
        consistent = orders[0] == orders[1]
        why = "both orders agree" if consistent else f"the orders say {orders}"
        detail = {"verdict": verdict, "orders": list(orders), "consistent": consistent}
        return end(closed.state, now, Chosen(server, verdict, why), detail=detail)


def swapped(verdict: Verdict) -> Verdict:
    """The verdict for the answers in the other order."""
    if verdict == "first":
        return "second"
    return "first" if verdict == "second" else verdict


def combine_orders(first: Verdict, second: Verdict) -> Verdict:
    """The common verdict of both orders; a tie if they differ; unreadable if either is."""
    if "unreadable" in (first, second):
        return "unreadable"
    return first if first == second else "tie"


def _both_orders(query: Query, now: datetime) -> tuple[Step, ...]:
    options = JudgeOptions.model_validate(query.options)
    assert query.server is not None  # Judge.check
    assert options.answers is not None  # Judge.check
    first, second = options.answers
    choices = CHOICES if options.by_likelihood else ()
    step = partial(make_step, query, query.server, "judge", 1, temperature=0.0, choices=choices)
    prompt = partial(panels.judge, query.question, reference=options.reference)
    return tuple(
        step(prompt(*pair), now, index=index, version=panels.VERSION)
        for index, pair in enumerate(((first, second), (second, first)))
    )
