"""Threshold sweep: COPE under other thresholds, from stored samples, without generation.

The samples come from a run of `cope` with `t1=1`, `t2=1` and `comparison=">"`, which takes all
stages of every question. `colm.models.strategies.cope.consensus.replay`, which also decides live
queries, decides them again. For thresholds that is exact. For a smaller n it is exact in stage 1
only: stage 2 was sampled with a plan from all samples of stage 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import ceil

from colm.evaluation.stats.costs import Cost, TokenPrice, cost_of, total
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

#: Size of a full sweep: values of n, and thresholds for each.
MAX_NS, MAX_THRESHOLDS = 4, 8


@dataclass(frozen=True, kw_only=True)
class StoredSamples:
    """One question's samples of every stage, with their grades and costs."""

    example: str
    kind: Kind
    samples: Mapping[int, Sequence[Sample]]
    #: Grade of every sample's text.
    right: Mapping[str, bool]
    #: Cost of each sample, in order; in stage 1 with its own plan.
    sample_costs: Mapping[int, Sequence[Cost]]
    #: Cost of a stage besides its samples: the guideline of stage 2.
    stage_costs: Mapping[int, Cost]
    #: For code: the program in the question.
    question: str = ""
    #: Decided by vote in any case: no visible tests.
    by_vote: bool = False


@dataclass(frozen=True, kw_only=True)
class ThresholdPoint:
    """COPE at one setting, over all questions."""

    t1: float
    t2: float
    n: int
    accuracy: float
    #: Means over questions.
    dollars: float
    tokens: float
    calls: float
    #: Questions by their last stage; 0: it gave no answer.
    ended: Mapping[int, int]


def stored_of(
    state: QueryState,
    *,
    kind: Kind,
    is_right: Callable[[str], bool],
    prices: Mapping[str, TokenPrice],
    question: str = "",
) -> StoredSamples:
    """The samples of one recorded query of `cope` or `cascade`.

    `is_right` grades a text; equal answers are graded once. A text without a voting answer is
    graded too: a grader may extract more.
    """
    stages = sorted({step.step.round for step in state.steps})
    samples = {stage: samples_of(state, stage) for stage in stages}
    right: dict[str, bool] = {}
    for of_stage in samples.values():
        right |= _graded([sample.text for sample in of_stage], kind, question, is_right)
    alone: dict[int, list[Cost]] = {stage: [] for stage in stages}
    shared: dict[int, list[Cost]] = {stage: [] for stage in stages}
    for stage in stages:
        by_index: dict[int, list[Cost]] = {i: [] for i in range(len(samples[stage]))}
        for step in (step for step in state.steps if step.step.round == stage):
            of_sample = step.step.act != "plan" or step.step.role == "client"
            place = by_index.setdefault(step.step.index, []) if of_sample else shared[stage]
            place.append(_cost_of(step, prices))
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


def sweep(
    stored: Sequence[StoredSamples],
    *,
    t1s: Iterable[float],
    t2s: Iterable[float],
    ns: Iterable[int],
    comparison: Comparison = ">=",
    confidence: Confidence = "vote",
) -> list[ThresholdPoint]:
    """A point for each (t1, t2, n). Raises ValueError without samples."""
    if not stored:
        raise ValueError("no samples of cope are stored in this run")
    return [
        _point(stored, t1, t2, n, comparison, confidence) for n, t1, t2 in product(ns, t1s, t2s)
    ]


def full_sweep(
    stored: Sequence[StoredSamples], n: int, confidence: Confidence
) -> Iterator[ThresholdPoint]:
    """Points for n and smaller ones. Thresholds are multiples of 1/n, as every consensus is."""
    for fewer in spread(n, MAX_NS):
        shares = [count / fewer for count in spread(fewer, MAX_THRESHOLDS)]
        yield from sweep(stored, t1s=shares, t2s=shares, ns=[fewer], confidence=confidence)


def spread(last: int, most: int) -> list[int]:
    """Up to `most` evenly spaced integers from 1 to `last`, with `last`."""
    return sorted({ceil(last * place / most) for place in range(1, most + 1)})


def replayed(
    stored: StoredSamples,
    t1: float,
    t2: float,
    n: int,
    comparison: Comparison,
    confidence: Confidence,
) -> Replayed:
    """The end of one question under these thresholds."""
    confidence = "vote" if stored.by_vote else confidence
    rules = {
        stage: Rule(n, threshold, confidence, comparison, stored.kind, stored.question)
        for stage, threshold in ((1, t1), (2, t2))
    }
    return replay(stored.samples, rules)


def cost_to(stored: StoredSamples, end: Replayed, n: int) -> Cost:
    """The cost of a question up to its end; stage 0 means all stages.

    Stages 1 and 2 take n samples each, stage 2 also a guideline, stage 3 one sample.
    """
    last = end.stage or max(stored.samples, default=0)
    if not end.accepted:
        last = max(stored.samples, default=0)
    parts = [cost for stage, cost in stored.stage_costs.items() if stage <= last]
    for stage, costs in stored.sample_costs.items():
        if stage <= last:
            parts += costs[: n if stage < 3 else 1]
    return total(parts)


def _last_stage(stored: StoredSamples, end: Replayed) -> int:
    """The last stage; 0 if that one gave no answer."""
    return end.stage if end.accepted or end.stage == max(stored.samples, default=0) else 0


def nothing_stored(example: str, kind: Kind) -> StoredSamples:
    """The samples of a question that could not be asked."""
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


def _cost_of(step: StepState, prices: Mapping[str, TokenPrice]) -> Cost:
    """The cost of a step, as in the ledger; 0 without a completion."""
    if step.completion is None:
        return Cost()
    line = Spent(
        participant=step.step.participant,
        role=step.step.role,
        act=step.step.act,
        calls=1,
        prompt=step.completion.prompt_tokens,
        completion=step.completion.completion_tokens,
    )
    return cost_of([line], prices)


def _point(
    stored: Sequence[StoredSamples],
    t1: float,
    t2: float,
    n: int,
    comparison: Comparison,
    confidence: Confidence,
) -> ThresholdPoint:
    ends = [(samples, replayed(samples, t1, t2, n, comparison, confidence)) for samples in stored]
    costs = [cost_to(samples, end, n) for samples, end in ends]
    right = [end.text is not None and samples.right.get(end.text, False) for samples, end in ends]
    places = [_last_stage(samples, end) for samples, end in ends]
    count = len(stored)
    return ThresholdPoint(
        t1=t1,
        t2=t2,
        n=n,
        accuracy=sum(right) / count,
        dollars=sum(cost.dollars for cost in costs) / count,
        tokens=sum(cost.tokens for cost in costs) / count,
        calls=sum(cost.calls for cost in costs) / count,
        ended={stage: places.count(stage) for stage in (0, 1, 2, 3)},
    )
