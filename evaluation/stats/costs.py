"""Cost of answers: ledgers, prices, stages, the Pareto front."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields

from colm.models.messages import Spent


@dataclass(frozen=True, kw_only=True)
class TokenPrice:
    """Dollars for a million tokens of one participant."""

    input: float = 0.0
    output: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Summed cost of queries."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    #: Completion tokens of plans (the act `plan`), included above.
    plan_tokens: int = 0
    dollars: float = 0.0

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


def cost_of(ledger: Iterable[Spent], prices: Mapping[str, TokenPrice]) -> Cost:
    """The cost of ledger lines; a participant without a price is free."""
    return total(_line_cost(line, prices.get(line.participant, TokenPrice())) for line in ledger)


def _line_cost(line: Spent, price: TokenPrice) -> Cost:
    return Cost(
        calls=line.calls,
        prompt_tokens=line.prompt,
        completion_tokens=line.completion,
        plan_tokens=line.completion if line.act == "plan" else 0,
        dollars=(line.prompt * price.input + line.completion * price.output) / 1e6,
    )


def total(costs: Iterable[Cost]) -> Cost:
    parts = list(costs)
    names = [field.name for field in fields(Cost)]
    return Cost(**{name: sum(getattr(part, name) for part in parts) for name in names})


@dataclass(frozen=True, kw_only=True)
class StageRow:
    """Deferral, accuracy and cost of one stage of COPE."""

    stage: int
    #: Queries that reached the stage, and that went on.
    reached: int
    deferred: int
    #: Queries with this last stage: answered by it, and failed in it.
    ended: int
    failed: int
    #: Right ones of those that it answered.
    right: int
    #: Answered below its threshold, as there was no later stage.
    unaccepted: int
    #: Failed in it, but right by an earlier stage's answer.
    right_before: int
    #: Means over queries with this last stage; None without any.
    mean_dollars: float | None
    mean_tokens: float | None

    @property
    def defer_rate(self) -> float | None:
        return self.deferred / self.reached if self.reached else None

    @property
    def accuracy(self) -> float | None:
        return self.right / self.ended if self.ended else None


@dataclass(frozen=True, kw_only=True)
class StageEnd:
    """End of one query: stage, correctness, total cost."""

    #: The stage that gave the answer; 0 gave none.
    stage: int
    right: bool
    cost: Cost
    #: The last stage asked; None: the answering one, or the last of all.
    reached: int | None = None
    #: Whether the answer reached its stage's threshold.
    accepted: bool = True

    def last(self, stages: Sequence[int]) -> int:
        """The last stage reached."""
        return max(self.reached or 0, self.stage) or max(stages)


def stage_rows(ends: Sequence[StageEnd], stages: Sequence[int] = (1, 2, 3)) -> list[StageRow]:
    """Defer rate, accuracy and cost by stage.

    A query whose last stage gave no answer counts as failed there, even with an earlier answer.
    """
    rows = []
    for stage in stages:
        reached = [end for end in ends if end.last(stages) >= stage]
        here = [end for end in reached if end.last(stages) == stage]
        answered = [end for end in here if end.stage == stage]
        rows.append(
            StageRow(
                stage=stage,
                reached=len(reached),
                deferred=len(reached) - len(here),
                ended=len(answered),
                failed=len(here) - len(answered),
                right=sum(end.right for end in answered),
                unaccepted=sum(not end.accepted for end in answered),
                right_before=sum(end.right for end in here if end.stage != stage),
                mean_dollars=_mean([end.cost.dollars for end in here]),
                mean_tokens=_mean([end.cost.tokens for end in here]),
            )
        )
    return rows


def pareto(points: Mapping[str, tuple[float, float]]) -> list[str]:
    """Names of the Pareto-optimal points (cost, accuracy), cheapest first."""
    front = [
        name
        for name, (cost, right) in points.items()
        if not any(c <= cost and r >= right and (c, r) != (cost, right) for c, r in points.values())
    ]
    return sorted(front, key=lambda name: points[name])


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
