"""Input of a report: one run as plain values. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from colm.evaluation.stats.cope_thresholds import ThresholdPoint
from colm.evaluation.stats.costs import TokenPrice
from colm.models.messages import Spent

#: unparsed: no answer in the text. failed: no text.
UnitStatus = Literal["graded", "unparsed", "failed"]


@dataclass(frozen=True, kw_only=True)
class ClientTexts:
    """One client's texts in one unit, and their correctness; None if unknown."""

    draft: bool | None = None
    refined: bool | None = None
    draft_text: str | None = None
    refined_text: str | None = None


@dataclass(frozen=True, kw_only=True)
class UnitData:
    """One entry's query for one example under one seed."""

    entry: str
    example: str
    seed: int
    status: UnitStatus
    correct: bool | None
    seconds: float
    text: str | None = None
    extracted: str | None = None
    reason: str | None = None
    ledger: tuple[Spent, ...] = ()
    clients: Mapping[str, ClientTexts] = field(default_factory=dict)
    #: COPE and cascade: the answering stage (0: none), the last stage asked, and whether the answer
    #: was accepted.
    stage: int | None = None
    reached: int | None = None
    accepted: bool = True

    @property
    def right(self) -> bool:
        """False without an answer."""
        return self.correct is True

    @property
    def item(self) -> str:
        return f"{self.example}/{self.seed}"


@dataclass(frozen=True, kw_only=True)
class ExampleData:
    """Question and references of an example."""

    question: str
    references: tuple[str, ...] = ()
    #: Examples of one cluster are not independent; empty: a cluster of its own.
    cluster: str = ""


@dataclass(frozen=True, kw_only=True)
class EntryData:
    """A strategy with its options: a row of the report."""

    name: str
    strategy: str
    options: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class RunData:
    """One run: its plan and its completed units."""

    run: str
    #: Time of the order.
    ordered: str = ""
    #: Description of the data set.
    data: str = ""
    #: The reporting machine.
    machine: str = ""
    #: Warnings at the top: simulated, tuned or partial results.
    notes: tuple[str, ...] = ()
    examples: Mapping[str, ExampleData]
    entries: tuple[EntryData, ...]
    units: tuple[UnitData, ...]
    baselines: tuple[str, ...] = ()
    #: Units of the whole plan.
    planned: int | None = None
    prices: Mapping[str, TokenPrice] = field(default_factory=dict)
    #: Unusable rows of the data: place and reason.
    bad_rows: tuple[tuple[str, str], ...] = ()
    #: Sharing of equal steps.
    steps_asked: int = 0
    steps_generated: int = 0
    tokens_saved: int = 0
    #: Threshold sweeps by entry.
    threshold_sweeps: Mapping[str, tuple[ThresholdPoint, ...]] = field(default_factory=dict)
