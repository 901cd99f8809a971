"""A server says which of two answers is better: blinded, and in both orders (arXiv 2306.05685).

Judges favour whichever answer they read first, so each pair is judged twice. Only a verdict that
both orders share counts for an answer; two that differ are a tie.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field

from colm.models.answers.verdicts import Verdict
from colm.models.answers.verdicts import read_verdict as read_verdict
from colm.models.errors import InvalidAsk
from colm.models.messages import Message, Query, Step
from colm.models.prompts import panels
from colm.models.strategies.base import Ask, Move, QueryState, Wait
from colm.models.strategies.cope.report import without
from colm.models.strategies.stages import Chosen, close_stage, end, make_step

#: What a reply may say, as continuations whose likelihoods are compared.
CHOICES = ("A", "B", "TIE")

Judged = Annotated[str, Field(max_length=100_000)]


class JudgeOptions(Message):
    """Options of the strategy `judge`."""

    #: The two answers that are compared; a query cannot do without.
    answers: tuple[Judged, Judged] | None = None
    #: A correct answer, shown to the judge.
    reference: Judged | None = None
    #: Whether the verdict is the likeliest of A, B and TIE, in place of a written reply.
    by_likelihood: bool = False


class Judge:
    """The strategy `judge`."""

    options = JudgeOptions

    def check(self, query: Query) -> None:
        """Raises InvalidAsk when there is no server to judge, or nothing to be judged."""
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
        notes = without(closed.state)
        if len(replies) < 2:
            return end(
                closed.state, now, None, failure=closed.reasons(), closes=closed.closes, notes=notes
            )
        orders = (read_verdict(replies[0]), swapped(read_verdict(replies[1])))
        verdict = of_both(*orders)
        server = closed.steps[0].step.participant
        why = "both orders agree" if orders[0] == orders[1] else f"the orders say {orders}"
        return end(
            closed.state,
            now,
            Chosen(server, verdict, why),
            detail={
                "verdict": verdict,
                "orders": list(orders),
                "consistent": orders[0] == orders[1],
            },
        )


def swapped(verdict: Verdict) -> Verdict:
    """The same verdict, of the answers in the other order."""
    if verdict == "first":
        return "second"
    return "first" if verdict == "second" else verdict


def of_both(one: Verdict, other: Verdict) -> Verdict:
    """The verdict of both orders: what they share; a tie where they differ; else unreadable."""
    if "unreadable" in (one, other):
        return "unreadable"
    return one if one == other else "tie"


def _both_orders(query: Query, now: datetime) -> tuple[Step, ...]:
    options = JudgeOptions.model_validate(query.options)
    server = query.server
    assert server is not None  # Judge.check
    assert options.answers is not None  # Judge.check
    first, second = options.answers
    return tuple(
        make_step(
            query,
            server,
            "judge",
            1,
            panels.judge(query.question, *pair, options.reference),
            now,
            index=index,
            version=panels.VERSION,
            choices=CHOICES if options.by_likelihood else (),
            temperature=0.0,
        )
        for index, pair in enumerate(((first, second), (second, first)))
    )
