"""Decisions, notes and the answer's `detail` of strategies that sample. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from colm.models.strategies.base import Decision, QueryState
from colm.models.strategies.cope.consensus import Replayed, Rule, Verdict

#: Characters of an extracted answer in the record.
MAX_ANSWER_CHARS = 200

_MEASURES = {"vote": "consensus", "tests": "share that passes", "perplexity": "lowest perplexity"}


def stage_decision(stage: int, rule: Rule, verdict: Verdict, plan: int | None) -> Decision:
    """The decision to accept or defer a stage, with its evidence."""
    confidence = "none" if verdict.confidence is None else f"{verdict.confidence:.3g}"
    outcome = "accepted" if verdict.accepted else "deferred"
    sign = rule.comparison if rule.confidence != "perplexity" else rule.comparison.replace(">", "<")
    return Decision(
        kind="consensus",
        round=stage,
        reason=f"{outcome}: {_MEASURES[rule.confidence]} {confidence}, "
        f"needed {sign} {rule.threshold:g}",
        detail={
            "stage": stage,
            "confidence": verdict.confidence,
            "threshold": rule.threshold,
            "accepted": verdict.accepted,
            "deferred": not verdict.accepted,
            "answers": truncate_answers(verdict.votes.answers),
            "classes": [list(members) for members in verdict.votes.classes],
            "winner": verdict.winner,
            "members": list(verdict.members),
            "plan": plan,
        },
    )


def truncate_answers(answers: Sequence[str | None]) -> list[str | None]:
    """Answers for the record; a whole program would repeat the completion."""
    return [a if a is None else a[:MAX_ANSWER_CHARS] for a in answers]


def detail_of(state: QueryState, rules: Mapping[int, Rule], result: Replayed) -> dict[str, Any]:
    """The answer's `detail`: the final stage and the decisions of all stages."""
    rule = next(iter(rules.values()), None)
    chosen = state.decision("consensus", 1)
    index = chosen.detail["plan"] if chosen else None
    plans: dict[tuple[str, int | None], str] = {
        (s.step.role, s.step.index): s.completion.text
        for s in state.steps
        if s.step.act == "plan" and s.completion is not None
    }
    return {
        "kind": rule.kind if rule else None,
        "confidence": rule.confidence if rule else None,
        "stage": result.stage,
        "accepted": result.accepted,
        "stages": [d.detail for d in state.decisions if d.kind == "consensus"],
        "goal": plans.get(("client", index)),
        "guideline": plans.get(("server", 0)),
    }


def because(state: QueryState, result: Replayed) -> str:
    if result.stage == 3:
        return "stage 3: the server's own solution; no stage before it was accepted"
    decision = state.decision("consensus", result.stage)
    reason = decision.reason if decision else "not decided"
    return f"stage {result.stage}, {reason}" + ("" if result.accepted else "; no later answer")


def missing_steps(state: QueryState) -> list[str]:
    """A note for each round, act and participant with steps without a completion."""
    missing: dict[tuple[int, str, str], list[str]] = {}
    totals: dict[tuple[int, str, str], int] = {}
    for s in state.steps:
        key = (s.step.round, s.step.act, s.step.participant)
        totals[key] = totals.get(key, 0) + 1
        if s.outcome is not None and s.completion is None:
            missing.setdefault(key, []).append(s.outcome.reason)
    return [
        f"round {round}: {len(reasons)} of {totals[round, act, who]} of the act {act} never came "
        f"from {who} ({reasons[0]})"
        for (round, act, who), reasons in missing.items()
    ]
