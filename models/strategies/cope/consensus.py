"""What COPE decides, as pure functions that live queries and replayed ones share.

A live query asks samples and calls `decide` once for each stage. `replay` calls the same function
on samples that were stored, with other thresholds or a smaller n, and generates nothing. COPE is
arXiv 2506.11578; its consensus is the share of *all* n samples that gave the most frequent answer,
so a sample that failed, or that holds no answer, agrees with nobody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import exp
from typing import Literal, NamedTuple

from colm.models.answers.compare import Kind, Vote, extract, vote
from colm.models.errors import BadMessage
from colm.models.messages import derive_seed
from colm.models.sandbox.protocol import read_report
from colm.models.strategies.base import QueryState, StepState

Confidence = Literal["vote", "tests", "perplexity"]
Comparison = Literal[">=", ">"]

#: Above this many nats a token exp() would overflow.
MOST_SURPRISED = 700.0


class Rule(NamedTuple):
    """What a stage's samples are held against."""

    n: int
    #: For vote and tests a share of n; for perplexity the highest that is accepted.
    threshold: float
    confidence: Confidence = "vote"
    comparison: Comparison = ">="
    kind: Kind = "exact"
    #: For the kind code: the program in the question, which an answer may go on from.
    question: str = ""


class Sample(NamedTuple):
    """What became of one of a stage's n solutions. No text: it failed or never came."""

    text: str | None
    #: Whether it passed the visible tests; None where nobody looked.
    passed: bool | None = None
    mean_logprob: float | None = None


class Verdict(NamedTuple):
    """Whether a stage's answer is accepted, and on what ground."""

    accepted: bool
    #: What was held against the threshold; for perplexity None where no sample told its own.
    confidence: float | None
    #: The sample that is the stage's answer: the first of the majority. None: there is no text.
    winner: int | None
    #: The samples that agree with the winner: the plan for the next stage comes from theirs.
    members: tuple[int, ...]
    #: What was found in each sample, and which of them are the same answer.
    votes: Vote


def decide(samples: Sequence[Sample], rule: Rule) -> Verdict:
    """Whether the answer of the first `rule.n` samples of a stage is accepted, and which it is."""
    first = samples[: rule.n]
    votes = votes_of([s.text for s in first], rule.kind, rule.question)
    if rule.confidence == "perplexity":
        return _by_perplexity(first, rule, votes)
    if rule.confidence == "tests":
        members = tuple(i for i, s in enumerate(first) if s.passed and s.text is not None)
    else:
        members = votes.majority
    share = len(members) / rule.n
    high = share > rule.threshold if rule.comparison == ">" else share >= rule.threshold
    winner = members[0] if members else _first_text(first)
    return Verdict(bool(members) and high, share, winner, members, votes)


def votes_of(texts: Sequence[str | None], kind: Kind, question: str = "") -> Vote:
    """How the answers in `texts` agree; a text that is missing agrees with nobody."""
    return _votes(tuple(texts), kind, question)


@lru_cache(maxsize=256)
def _votes(texts: tuple[str | None, ...], kind: Kind, question: str) -> Vote:
    """Kept, because a surface of thresholds asks for the same votes at every point."""
    found = [None if text is None else extract(text, kind, question=question) for text in texts]
    return vote(found, kind)


def chosen_plan(seed: int, members: Sequence[int]) -> int | None:
    """One of the majority's samples, drawn with the query's seed: its plan is COPE's g_S."""
    if not members:
        return None
    return members[derive_seed(seed, "cope", "goal plan") % len(members)]


class Replayed(NamedTuple):
    """Where a query would have ended, and with which text. `stage` 0: nowhere, there is no text."""

    stage: int
    accepted: bool
    text: str | None


def replay(samples: Mapping[int, Sequence[Sample]], rules: Mapping[int, Rule]) -> Replayed:
    """The end of a query with these samples by stage, under `rules` for its voting stages.

    A stage without a rule, which is 3, ends the query if it has a text. Without an accepted answer
    the latest stage that has a text gives it. Exact for every threshold, given samples of every
    stage (a live query with thresholds above 1 takes them all). For an n below the stored one it is
    exact only as far as stage 2 does not depend on the plan that was drawn from stage 1.
    """
    best = Replayed(0, False, None)
    for stage in sorted(samples):
        if stage not in rules:
            text = samples[stage][0].text if samples[stage] else None
            return best if text is None else Replayed(stage, True, text)
        verdict = decide(samples[stage], rules[stage])
        if verdict.winner is not None:
            best = Replayed(stage, verdict.accepted, samples[stage][verdict.winner].text)
        if verdict.accepted:
            return best
    return best


def samples_of(state: QueryState, stage: int) -> tuple[Sample, ...]:
    """The solutions of a stage of `cope` or `cascade`, by index; a gap is a sample without text."""
    solved = {s.step.index: s for s in _of_stage(state, stage, "solve", "draft")}
    checked = {s.step.index: s for s in _of_stage(state, stage, "check")}
    return tuple(
        _sample(solved.get(index), checked.get(index))
        for index in range(max(solved, default=-1) + 1)
    )


def _of_stage(state: QueryState, stage: int, *acts: str) -> list[StepState]:
    return [s for s in state.steps if s.step.round == stage and s.step.act in acts]


def _sample(solved: StepState | None, checked: StepState | None) -> Sample:
    completion = solved.completion if solved else None
    if completion is None:
        return Sample(None)
    report = checked.completion if checked else None
    passed = None if report is None else _passed(report.text)
    return Sample(completion.text, passed, completion.mean_logprob)


def _passed(report: str) -> bool | None:
    """What a sandbox reported; None where a server that is no sandbox said something else."""
    try:
        return read_report(report).passed
    except BadMessage:
        return None


def _by_perplexity(samples: Sequence[Sample], rule: Rule, votes: Vote) -> Verdict:
    """The sample that its model was least surprised by; COPE's confidence for open questions."""
    told = {
        i: exp(min(-s.mean_logprob, MOST_SURPRISED))
        for i, s in enumerate(samples)
        if s.text is not None and s.mean_logprob is not None
    }
    if not told:
        return Verdict(False, None, _first_text(samples), (), votes)
    best = min(told, key=lambda i: told[i])
    low = told[best] < rule.threshold if rule.comparison == ">" else told[best] <= rule.threshold
    return Verdict(low, told[best], best, (best,), votes)


def _first_text(samples: Sequence[Sample]) -> int | None:
    return next((i for i, s in enumerate(samples) if s.text is not None), None)
