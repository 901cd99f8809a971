"""The decisions of COPE (arXiv 2506.11578), for live and replayed queries. Pure.

A live query calls `decide` once for each stage. `replay` calls it on stored samples, with other
thresholds or a smaller n, without generation. Consensus is the share of the most frequent answer
among *all* n samples; failed samples and samples without an answer count as disagreement.
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

#: Nats a token; exp() overflows above.
MAX_SURPRISAL = 700.0


class Rule(NamedTuple):
    """The acceptance rule of a stage."""

    n: int
    #: For vote and tests a minimum share of n; for perplexity a maximum.
    threshold: float
    confidence: Confidence = "vote"
    comparison: Comparison = ">="
    kind: Kind = "exact"
    #: For the kind code: an answer may complete the program in the question.
    question: str = ""


class Sample(NamedTuple):
    """One of the n solutions of a stage; `text` None if it failed or is missing."""

    text: str | None
    #: Whether it passed the visible tests; None if they were not run.
    passed: bool | None = None
    mean_logprob: float | None = None


class Verdict(NamedTuple):
    """Whether a stage's answer is accepted, with the evidence."""

    accepted: bool
    #: The value compared with the threshold; None without any log-probability (perplexity).
    confidence: float | None
    #: Index of the stage's answer, the first of the majority; None without any text.
    winner: int | None
    #: Indexes of the samples that agree with the winner; the next stage's plan is one of theirs.
    members: tuple[int, ...]
    #: The extracted answers and their classes.
    votes: Vote


def decide(samples: Sequence[Sample], rule: Rule) -> Verdict:
    """The verdict on the first `rule.n` samples of a stage."""
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
    """The vote of the answers in `texts`; a missing text counts as disagreement."""
    return _votes(tuple(texts), kind, question)


@lru_cache(maxsize=256)
def _votes(texts: tuple[str | None, ...], kind: Kind, question: str) -> Vote:
    """Cached: a grid of thresholds needs the same votes at every point."""
    answers = [None if text is None else extract(text, kind, question=question) for text in texts]
    return vote(answers, kind)


def chosen_plan(seed: int, members: Sequence[int]) -> int | None:
    """A sample of the majority, drawn with the query's seed; its plan is COPE's g_S."""
    if not members:
        return None
    return members[derive_seed(seed, "cope", "goal plan") % len(members)]


class Replayed(NamedTuple):
    """Final stage and answer of a replayed query; stage 0 and None without any text."""

    stage: int
    accepted: bool
    text: str | None


def replay(samples: Mapping[int, Sequence[Sample]], rules: Mapping[int, Rule]) -> Replayed:
    """The end of a query with these samples by stage, under `rules` for its voting stages.

    A stage without a rule (stage 3) ends the query if it has a text. If no stage is accepted, the
    latest text is the answer. Exact for every threshold, given samples of all stages (a live query
    with thresholds above 1 takes them all). For a smaller n it is approximate: stage 2 depends on
    the plan that was drawn from stage 1.
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
    """The solutions of a stage of `cope` or `cascade`, by index; missing ones have no text."""
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
    """The sandbox's report; None if the server was no sandbox and replied otherwise."""
    try:
        return read_report(report).passed
    except BadMessage:
        return None


def _by_perplexity(samples: Sequence[Sample], rule: Rule, votes: Vote) -> Verdict:
    """The sample of the lowest perplexity: COPE's confidence for open questions."""
    perplexity = {
        i: exp(min(-s.mean_logprob, MAX_SURPRISAL))
        for i, s in enumerate(samples)
        if s.text is not None and s.mean_logprob is not None
    }
    if not perplexity:
        return Verdict(False, None, _first_text(samples), (), votes)
    best = min(perplexity, key=lambda i: perplexity[i])
    lowest = perplexity[best]
    accepted = lowest < rule.threshold if rule.comparison == ">" else lowest <= rule.threshold
    return Verdict(accepted, lowest, best, (best,), votes)


def _first_text(samples: Sequence[Sample]) -> int | None:
    return next((i for i, s in enumerate(samples) if s.text is not None), None)
