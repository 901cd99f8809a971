"""COPE under other thresholds: a whole surface from one night's samples, nothing generated.

The samples are those of a run of `cope` with `t1=1`, `t2=1` and `comparison=">"`, which takes all
stages of every question. `colm.models.strategies.cope.consensus.replay` ends each of them anew; it
is what ends a live query, so a replayed end is the end that a live query with these samples comes
to.

For thresholds that is exact. A smaller n is exact in stage 1 only: stage 2 was sampled with a plan
that was drawn from all samples of stage 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import ceil

from colm.evaluation.stats.costs import Cost, Price, cost_of, total
from colm.models.answers.compare import Kind
from colm.models.messages import Spent
from colm.models.strategies.base import QueryState, StepState
from colm.models.strategies.cope.consensus import (
    Comparison,
    Confidence,
    Replayed,
    Rule,
    Sample,
    replay,
    samples_of,
    votes_of,
)

#: Of a whole surface: so many n, and so many thresholds of each.
MOST_NS, MOST_THRESHOLDS = 4, 8


@dataclass(frozen=True, kw_only=True)
class StoredSamples:
    """One question's samples of every stage, with what is needed to judge and to price them."""

    example: str
    kind: Kind
    samples: Mapping[int, Sequence[Sample]]
    #: Whether a text of the samples is right; every text that can end the query is in it.
    right: Mapping[str, bool]
    #: What each sample's solution cost, with its own plan in stage 1, in the samples' order.
    sample_costs: Mapping[int, Sequence[Cost]]
    #: What a stage costs once, however many samples: the guideline of stage 2.
    stage_costs: Mapping[int, Cost]
    #: For the kind code: the program in the question.
    question: str = ""
    #: Whether it went by vote, whatever the others did: it had no visible tests.
    by_vote: bool = False


@dataclass(frozen=True, kw_only=True)
class Point:
    """COPE at one setting, over all stored questions."""

    t1: float
    t2: float
    n: int
    accuracy: float
    #: Means for each question.
    dollars: float
    tokens: float
    calls: float
    #: How many questions ended in each stage; 0: their last one gave no answer.
    ended: Mapping[int, int]


def stored_of(
    state: QueryState,
    *,
    kind: Kind,
    is_right: Callable[[str], bool],
    prices: Mapping[str, Price],
    question: str = "",
) -> StoredSamples:
    """The samples of one recorded query of `cope` or `cascade`.

    `is_right` grades a text; equal answers are graded once. A text without an answer that could
    vote is graded on its own: a grader may read more in it, as the words of an option.
    """
    stages = sorted({one.step.round for one in state.steps})
    samples = {stage: samples_of(state, stage) for stage in stages}
    right: dict[str, bool] = {}
    for of_stage in samples.values():
        right |= _graded([sample.text for sample in of_stage], kind, question, is_right)
    alone: dict[int, list[Cost]] = {stage: [] for stage in stages}
    shared: dict[int, list[Cost]] = {stage: [] for stage in stages}
    for stage in stages:
        by_index: dict[int, list[Cost]] = {i: [] for i in range(len(samples[stage]))}
        for one in (one for one in state.steps if one.step.round == stage):
            of_sample = one.step.act != "plan" or one.step.role == "client"
            place = by_index.setdefault(one.step.index, []) if of_sample else shared[stage]
            place.append(_cost_of(one, prices))
        alone[stage] = [total(costs) for _, costs in sorted(by_index.items())]
    return StoredSamples(
        example=state.query.query_id,
        kind=kind,
        samples=samples,
        right=right,
        sample_costs=alone,
        stage_costs={stage: total(costs) for stage, costs in shared.items()},
        question=question,
        by_vote=state.query.options.get("confidence") == "vote",
    )


def surface(
    stored: Sequence[StoredSamples],
    *,
    t1s: Iterable[float],
    t2s: Iterable[float],
    ns: Iterable[int],
    comparison: Comparison = ">=",
    confidence: Confidence = "vote",
) -> list[Point]:
    """A point for each (t1, t2, n). Raises ValueError where nothing is stored."""
    if not stored:
        raise ValueError("no samples of cope are stored in this run")
    return [
        _point(stored, t1, t2, n, comparison, confidence) for n, t1, t2 in product(ns, t1s, t2s)
    ]


def whole_surface(
    stored: Sequence[StoredSamples], n: int, confidence: Confidence
) -> Iterator[Point]:
    """Points for n and smaller ones, at the thresholds that can make a difference.

    A consensus among n is a multiple of 1/n, so that under ">=" a threshold between two of them
    accepts what the higher one does.
    """
    for fewer in spread(n, MOST_NS):
        shares = [count / fewer for count in spread(fewer, MOST_THRESHOLDS)]
        yield from surface(stored, t1s=shares, t2s=shares, ns=[fewer], confidence=confidence)


def spread(last: int, most: int) -> list[int]:
    """At most so many of 1 to `last`, which is among them, at even distances."""
    return sorted({ceil(last * place / most) for place in range(1, most + 1)})


def replayed(
    one: StoredSamples, t1: float, t2: float, n: int, comparison: Comparison, confidence: Confidence
) -> Replayed:
    """Where one question would have ended."""
    confidence = "vote" if one.by_vote else confidence
    rules = {
        stage: Rule(n, threshold, confidence, comparison, one.kind, one.question)
        for stage, threshold in ((1, t1), (2, t2))
    }
    return replay(one.samples, rules)


def cost_to(one: StoredSamples, end: Replayed, n: int) -> Cost:
    """What a question costs that is answered after stage `end.stage`; 0 went through them all.

    Stages 1 and 2 take n samples each, a guideline is bought before stage 2, stage 3 is one more.
    """
    last = end.stage or max(one.samples, default=0)
    if not end.accepted:
        last = max(one.samples, default=0)
    parts = [cost for stage, cost in one.stage_costs.items() if stage <= last]
    for stage, costs in one.sample_costs.items():
        if stage <= last:
            parts += costs[: n if stage < 3 else 1]
    return total(parts)


def _place(one: StoredSamples, end: Replayed) -> int:
    """The stage that a question ended in; 0 where that gave no answer, whoever did before it."""
    return end.stage if end.accepted or end.stage == max(one.samples, default=0) else 0


def nothing_stored(example: str, kind: Kind) -> StoredSamples:
    """Of a question that could not be asked."""
    return StoredSamples(
        example=example, kind=kind, samples={}, right={}, sample_costs={}, stage_costs={}
    )


def _graded(
    texts: Sequence[str | None], kind: Kind, question: str, is_right: Callable[[str], bool]
) -> dict[str, bool]:
    graded: dict[str, bool] = {}
    for members in votes_of(texts, kind, question).classes:
        first, *others = (text for place in members if (text := texts[place]) is not None)
        graded[first] = is_right(first)
        graded |= dict.fromkeys(others, graded[first])
    for text in texts:
        if text is not None and text not in graded:
            graded[text] = is_right(text)
    return graded


def _cost_of(one: StepState, prices: Mapping[str, Price]) -> Cost:
    """As the ledger counts: what a step without a completion cost is not known."""
    if one.completion is None:
        return Cost()
    line = Spent(
        participant=one.step.participant,
        role=one.step.role,
        act=one.step.act,
        calls=1,
        prompt=one.completion.prompt_tokens,
        completion=one.completion.completion_tokens,
    )
    return cost_of([line], prices)


def _point(
    stored: Sequence[StoredSamples],
    t1: float,
    t2: float,
    n: int,
    comparison: Comparison,
    confidence: Confidence,
) -> Point:
    ends = [replayed(one, t1, t2, n, comparison, confidence) for one in stored]
    costs = [cost_to(one, end, n) for one, end in zip(stored, ends, strict=True)]
    right = [
        end.text is not None and one.right.get(end.text, False)
        for one, end in zip(stored, ends, strict=True)
    ]
    places = [_place(one, end) for one, end in zip(stored, ends, strict=True)]
    count = len(stored)
    return Point(
        t1=t1,
        t2=t2,
        n=n,
        accuracy=sum(right) / count,
        dollars=sum(cost.dollars for cost in costs) / count,
        tokens=sum(cost.tokens for cost in costs) / count,
        calls=sum(cost.calls for cost in costs) / count,
        ended={stage: places.count(stage) for stage in (0, 1, 2, 3)},
    )
