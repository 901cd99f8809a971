"""Regressions: items that only the baseline has right, and drafts that refinement spoiled. Pure.

The order depends on the results alone, not on when a unit was completed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

from colm.evaluation.stats.run_data import RunData, UnitData
from colm.evaluation.stats.tables import CONTROL, Comparison, Units


@dataclass(frozen=True, kw_only=True)
class Regression:
    """An item that the baseline has right and the entry wrong, with both texts."""

    entry: str
    #: The client, for a spoiled draft.
    baseline: str
    example: str
    seed: int
    question: str
    references: tuple[str, ...]
    before: str
    after: str
    #: Rank: times that the item is lost, or the client's draft right; of how many.
    times: int
    of: int


class _Counts(NamedTuple):
    """Numerators and denominators by key."""

    times: Counter[Any]
    of: Counter[Any]


def lost_items(
    compared: Sequence[Comparison], units: Units, data: RunData, limit: int
) -> tuple[Regression, ...]:
    """Up to `limit` items of each comparison that the baseline has right and the entry wrong.

    In order of losses over all entries and seeds in which the baseline is right; items without an
    answer last; ties by example and seed.
    """
    baselines = dict.fromkeys(comparison.baseline for comparison in compared)
    losses = {name: _losses(name, units) for name in baselines}
    return tuple(
        row
        for comparison in compared
        for row in islice(_lost(comparison, units, data, losses[comparison.baseline]), limit)
    )


def spoiled_drafts(
    units: Units, strategies: Mapping[str, str], data: RunData, limit: int
) -> tuple[Regression, ...]:
    """Up to `limit` right drafts of each entry whose refined answers are wrong.

    In order of the client's share of right drafts of the example over all entries and seeds, then
    of their number; ties by example, seed and client.
    """
    counts = _knowledge(unit for mine in units.values() for unit in mine.values())
    return tuple(
        row
        for name, mine in units.items()
        if strategies[name] != CONTROL
        for row in islice(_spoiled(mine.values(), data, counts), limit)
    )


def _lost(
    comparison: Comparison, units: Units, data: RunData, counts: _Counts
) -> Iterator[Regression]:
    pairs = [
        (unit, before)
        for item, unit in units[comparison.entry].items()
        if (before := units[comparison.baseline].get(item)) and before.right and not unit.right
    ]

    def rank(pair: tuple[UnitData, UnitData]) -> tuple[bool, int, str, int]:
        unit, _ = pair
        return (unit.status != "graded", -counts.times[unit.example], unit.example, unit.seed)

    for unit, before in sorted(pairs, key=rank):
        texts = (_text(before), _text(unit))
        yield _regression(unit, comparison.baseline, texts, counts, unit.example, data)


def _spoiled(units: Iterable[UnitData], data: RunData, counts: _Counts) -> Iterator[Regression]:
    pairs = [
        (unit, client)
        for unit in units
        for client, texts in unit.clients.items()
        if texts.draft and not texts.refined and texts.refined_text is not None
    ]

    def rank(pair: tuple[UnitData, str]) -> tuple[float, int, str, int, str]:
        unit, client = pair
        right, of = (count[unit.example, client] for count in counts)
        return (-right / of, -right, unit.example, unit.seed, client)

    for unit, client in sorted(pairs, key=rank):
        wrote = unit.clients[client]
        texts = (wrote.draft_text or "", wrote.refined_text or "")
        yield _regression(unit, client, texts, counts, (unit.example, client), data)


def _losses(baseline: str, units: Units) -> _Counts:
    """By example: losses against the baseline, of the times that the baseline is right."""
    counts = _Counts(Counter(), Counter())
    for name, mine in units.items():
        for item, unit in mine.items():
            before = units[baseline].get(item)
            if name != baseline and before and before.right:
                counts.of[unit.example] += 1
                counts.times[unit.example] += not unit.right
    return counts


def _knowledge(units: Iterable[UnitData]) -> _Counts:
    """By example and client: right drafts, of the graded ones."""
    counts = _Counts(Counter(), Counter())
    for unit in units:
        for client, texts in unit.clients.items():
            if texts.draft is not None:
                counts.of[unit.example, client] += 1
                counts.times[unit.example, client] += texts.draft
    return counts


def _regression(
    unit: UnitData, baseline: str, texts: tuple[str, str], counts: _Counts, key: Any, data: RunData
) -> Regression:
    example = data.examples.get(unit.example)
    return Regression(
        entry=unit.entry,
        baseline=baseline,
        example=unit.example,
        seed=unit.seed,
        question=example.question if example else "",
        references=example.references if example else (),
        before=texts[0],
        after=texts[1],
        times=counts.times[key],
        of=counts.of[key],
    )


def _text(unit: UnitData) -> str:
    return unit.text if unit.text is not None else f"({unit.reason or unit.status})"
