"""Analysis of a run: all numbers of its report. Pure and seeded.

Counts are over items, an example under a seed. Items of one example or cluster are dependent.
Unparsable and failed units count as not right.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from colm.evaluation.report.number_format import cautions
from colm.evaluation.stats.costs import StageRow, pareto, stage_rows
from colm.evaluation.stats.regressions import Regression, lost_items, spoiled_drafts
from colm.evaluation.stats.run_data import RunData
from colm.evaluation.stats.statistics import holm
from colm.evaluation.stats.tables import (
    ClientRow,
    Clusters,
    Comparison,
    EntryRow,
    LedgerRow,
    Units,
    client_rows,
    comparisons,
    entry_row,
    ledger_rows,
    stage_ends,
)

#: Strategies that defer by stages.
STAGED = ("cope", "cascade")


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """All numbers of a report."""

    entries: tuple[EntryRow, ...]
    comparisons: tuple[Comparison, ...]
    clients: tuple[ClientRow, ...]
    stages: Mapping[str, tuple[StageRow, ...]]
    ledger: tuple[LedgerRow, ...]
    regressions: tuple[Regression, ...]
    #: Right drafts with a wrong refined answer.
    spoiled: tuple[Regression, ...]
    #: Kind of cost -> Pareto-optimal entries.
    front: Mapping[str, tuple[str, ...]]
    clustered: bool
    #: Warnings about too few clusters.
    cautions: tuple[str, ...]


def analyse(data: RunData, *, seed: int = 0, limit: int = 5) -> Analysis:
    """The numbers of a run; `limit` bounds regressions a comparison and spoiled drafts an entry."""
    clusters, units = clusters_of(data), units_of(data)
    rows = tuple(
        entry_row(entry, list(units[entry.name].values()), data, clusters)
        for entry in data.entries
        if entry.name in units
    )
    compared = comparisons(units, data.baselines, clusters, seed)
    strategies = {entry.name: entry.strategy for entry in data.entries}
    return Analysis(
        entries=rows,
        comparisons=compared,
        clients=client_rows(data, units, clusters, seed),
        stages={
            entry.name: tuple(stage_rows(stage_ends(units[entry.name].values(), data)))
            for entry in data.entries
            if entry.strategy in STAGED and entry.name in units
        },
        ledger=tuple(row for name, of in units.items() for row in ledger_rows(name, of.values())),
        regressions=lost_items(compared, units, data, limit),
        spoiled=spoiled_drafts(units, strategies, data, limit),
        front={
            name: tuple(pareto({r.name: (cost[name], r.right / r.n) for r, cost in _costs(rows)}))
            for name in ("tokens", "seconds", "dollars")
        },
        clustered=clusters is not None,
        cautions=cautions([r.accuracy for r in rows] + [c.paired.gain for c in compared]),
    )


def compare(before: RunData, after: RunData, *, seed: int = 0) -> tuple[Comparison, ...]:
    """Each entry of `after` against the entry of the same name in `before`, by example and seed."""
    old, new = units_of(before), units_of(after)
    clusters = clusters_of(after)
    if clusters is not None:
        clusters = {**(clusters_of(before) or {}), **clusters}
    rows = []
    for name in new:
        if name in old:
            both = {"after": new[name], "before": old[name]}
            rows += [
                replace(row, entry=name, baseline=name)
                for row in comparisons(both, ["before"], clusters, seed)
            ]
    corrected = holm([row.paired.p for row in rows])
    return tuple(replace(row, holm_p=p) for row, p in zip(rows, corrected, strict=True))


def units_of(data: RunData) -> Units:
    """Completed units by entry and item."""
    by_entry = {
        entry.name: {u.item: u for u in data.units if u.entry == entry.name}
        for entry in data.entries
    }
    return {name: units for name, units in by_entry.items() if units}


def clusters_of(data: RunData) -> Clusters:
    """Item -> cluster; None if every cluster has one item."""
    cluster_of_item = {
        unit.item: (data.examples[unit.example].cluster if unit.example in data.examples else "")
        or unit.example
        for unit in data.units
    }
    return cluster_of_item if len(set(cluster_of_item.values())) < len(cluster_of_item) else None


def _costs(rows: tuple[EntryRow, ...]) -> list[tuple[EntryRow, dict[str, float]]]:
    return [
        (r, {"tokens": r.tokens_each, "seconds": r.seconds, "dollars": r.dollars_each})
        for r in rows
    ]
