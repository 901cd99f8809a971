"""What a report is made of: one run as plain values, wherever they were stored. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from colm.evaluation.stats.cope_thresholds import Point
from colm.evaluation.stats.costs import Price
from colm.models.messages import Spent

#: graded: an answer was found and compared. unparsed: none was found. failed: there is no text.
UnitStatus = Literal["graded", "unparsed", "failed"]


@dataclass(frozen=True, kw_only=True)
class ClientTexts:
    """One client in one unit: what it wrote, and whether that is right; None where unknown."""

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
    #: COPE and the cascade: the stage that gave the answer; 0 gave none.
    stage: int | None = None
    #: COPE and the cascade: the last stage that was asked, and whether the answer was accepted.
    reached: int | None = None
    accepted: bool = True

    @property
    def right(self) -> bool:
        """An answer that nobody can find, or that never came, is not right."""
        return self.correct is True

    @property
    def item(self) -> str:
        return f"{self.example}/{self.seed}"


@dataclass(frozen=True, kw_only=True)
class ExampleData:
    """What was asked, and what was expected."""

    question: str
    references: tuple[str, ...] = ()
    #: Examples of one cluster are not independent; empty is its own.
    cluster: str = ""


@dataclass(frozen=True, kw_only=True)
class EntryData:
    """A row of the report: a strategy with its options."""

    name: str
    strategy: str
    options: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class RunData:
    """One run: what was ordered and what is done of it."""

    run: str
    #: When it was ordered, in words.
    ordered: str = ""
    #: The data set, in words.
    data: str = ""
    #: Where the report was made; who generated, and on what, is in the record.
    machine: str = ""
    #: Said in a frame at the top: that results are simulated, tuned, or partial.
    notes: tuple[str, ...] = ()
    examples: Mapping[str, ExampleData]
    entries: tuple[EntryData, ...]
    units: tuple[UnitData, ...]
    #: Entries that the others are compared with.
    baselines: tuple[str, ...] = ()
    #: How many units there will be.
    planned: int | None = None
    prices: Mapping[str, Price] = field(default_factory=dict)
    #: Rows of the data that could not be read: where, and why.
    bad_rows: tuple[tuple[str, str], ...] = ()
    #: Steps that strategies asked, steps that an engine was asked for, tokens not generated again.
    steps_asked: int = 0
    steps_generated: int = 0
    tokens_saved: int = 0
    #: COPE replayed under other thresholds, by the entry whose samples were stored.
    surfaces: Mapping[str, tuple[Point, ...]] = field(default_factory=dict)
