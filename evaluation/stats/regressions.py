"""What was right and is not: which items and drafts of a run a report shows first. Pure.

The order depends on what the run found alone, never on when a unit was done.
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
    """An item that the baseline has right and the entry has not, with what each wrote."""

    entry: str
    #: Of a spoiled draft, the client.
    baseline: str
    example: str
    seed: int
    question: str
    references: tuple[str, ...]
    before: str
    after: str
    #: What it was ranked by: how often the item is lost, or the client's draft right; of how many.
    times: int
    of: int


class _Counts(NamedTuple):
    """How often something is so, of how many times that it could be."""

    times: Counter[Any]
    of: Counter[Any]


def lost(
    compared: Sequence[Comparison], units: Units, data: RunData, shown: int
) -> tuple[Regression, ...]:
    """The first `shown` items of each comparison that the baseline has right and the entry has not.

    Those first that most entries lose, counted over all entries and seeds in which the baseline has
    the example right; those without an answer last. Equals come by example and seed.
    """
    baselines = dict.fromkeys(one.baseline for one in compared)
    losses = {name: _losses(name, units) for name in baselines}
    return tuple(
        row
        for one in compared
        for row in islice(_lost(one, units, data, losses[one.baseline]), shown)
    )


def spoiled(
    units: Units, strategies: Mapping[str, str], data: RunData, shown: int
) -> tuple[Regression, ...]:
    """The first `shown` drafts of each entry that were right and whose refined answers are not.

    Those first whose client knew best: by the share of its drafts of the example that are right,
    over all entries and seeds, then by how many those are. A draft that entries share counts for
    each. Equals come by example, seed and client.
    """
    known = _knowledge(unit for mine in units.values() for unit in mine.values())
    return tuple(
        row
        for name, mine in units.items()
        if strategies[name] != CONTROL
        for row in islice(_spoiled(mine.values(), data, known), shown)
    )


def _lost(one: Comparison, units: Units, data: RunData, counts: _Counts) -> Iterator[Regression]:
    pairs = [
        (unit, before)
        for item, unit in units[one.entry].items()
        if (before := units[one.baseline].get(item)) and before.right and not unit.right
    ]

    def rank(pair: tuple[UnitData, UnitData]) -> tuple[bool, int, str, int]:
        unit, _ = pair
        return (unit.status != "graded", -counts.times[unit.example], unit.example, unit.seed)

    for unit, before in sorted(pairs, key=rank):
        texts = (_text(before), _text(unit))
        yield _told(unit, one.baseline, texts, counts, unit.example, data)


def _spoiled(units: Iterable[UnitData], data: RunData, counts: _Counts) -> Iterator[Regression]:
    found = [
        (unit, client)
        for unit in units
        for client, texts in unit.clients.items()
        if texts.draft and not texts.refined and texts.refined_text is not None
    ]

    def rank(pair: tuple[UnitData, str]) -> tuple[float, int, str, int, str]:
        unit, client = pair
        right, of = (count[unit.example, client] for count in counts)
        return (-right / of, -right, unit.example, unit.seed, client)

    for unit, client in sorted(found, key=rank):
        wrote = unit.clients[client]
        texts = (wrote.draft_text or "", wrote.refined_text or "")
        yield _told(unit, client, texts, counts, (unit.example, client), data)


def _losses(baseline: str, units: Units) -> _Counts:
    """By example: how often an entry loses what the baseline has right, and how often it might."""
    counts = _Counts(Counter(), Counter())
    for name, mine in units.items():
        for item, unit in mine.items():
            before = units[baseline].get(item)
            if name != baseline and before and before.right:
                counts.of[unit.example] += 1
                counts.times[unit.example] += not unit.right
    return counts


def _knowledge(units: Iterable[UnitData]) -> _Counts:
    """By example and client: how often its draft is right, and how often there is a verdict."""
    counts = _Counts(Counter(), Counter())
    for unit in units:
        for client, texts in unit.clients.items():
            if texts.draft is not None:
                counts.of[unit.example, client] += 1
                counts.times[unit.example, client] += texts.draft
    return counts


def _told(
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
