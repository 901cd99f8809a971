"""From a run to the numbers of its report. Pure; seeded, so that a report can be made again.

Everything is counted over items: an example under a seed. Examples under several seeds, or of one
cluster, are treated as dependent. Unparsable and failed units count as not right.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from colm.evaluation.report.number_format import cautions
from colm.evaluation.stats.costs import StageRow, pareto, stage_rows
from colm.evaluation.stats.regressions import Regression, lost, spoiled
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
    #: Right drafts that their client has refined to something else.
    spoiled: tuple[Regression, ...]
    #: Entries that no other beats both in accuracy and in this cost.
    front: Mapping[str, tuple[str, ...]]
    #: Whether items were taken in clusters.
    clustered: bool
    #: What the numbers above cannot tell.
    cautions: tuple[str, ...]


def analyse(data: RunData, *, seed: int = 0, shown: int = 5) -> Analysis:
    """The numbers of a run; `shown` is how many regressions of each comparison, and
    how many spoiled drafts of each entry, are kept, as `stats.regressions` ranks them."""
    clusters, units = clusters_of(data), units_of(data)
    rows = tuple(
        entry_row(entry, list(units[entry.name].values()), data, clusters, seed)
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
        regressions=lost(compared, units, data, shown),
        spoiled=spoiled(units, strategies, data, shown),
        front={
            name: tuple(pareto({r.name: (cost[name], r.right / r.n) for r, cost in _costs(rows)}))
            for name in ("tokens", "seconds", "dollars")
        },
        clustered=clusters is not None,
        cautions=cautions([row.accuracy for row in rows] + [one.found.gain for one in compared]),
    )


def compare(before: RunData, after: RunData, *, seed: int = 0) -> tuple[Comparison, ...]:
    """What each entry of `after` gains over the entry of the same name in `before`.

    Items meet by the id of their example, which follows from its content, and by their seed.
    """
    old, new = units_of(before), units_of(after)
    clusters = clusters_of(after)
    if clusters is not None:
        clusters = {**(clusters_of(before) or {}), **clusters}
    found = []
    for name in new:
        if name in old:
            both = {"after": new[name], "before": old[name]}
            found += [
                replace(one, entry=name, baseline=name)
                for one in comparisons(both, ["before"], clusters, seed)
            ]
    corrected = holm([one.found.p for one in found])
    return tuple(replace(one, holm_p=p) for one, p in zip(found, corrected, strict=True))


def units_of(data: RunData) -> Units:
    """What is done of each entry, by item, in the order of the entries."""
    found = {
        entry.name: {u.item: u for u in data.units if u.entry == entry.name}
        for entry in data.entries
    }
    return {name: units for name, units in found.items() if units}


def clusters_of(data: RunData) -> Clusters:
    """The cluster of each item, where any has two."""
    found = {
        unit.item: (data.examples[unit.example].cluster if unit.example in data.examples else "")
        or unit.example
        for unit in data.units
    }
    return found if len(set(found.values())) < len(found) else None


def _costs(rows: tuple[EntryRow, ...]) -> list[tuple[EntryRow, dict[str, float]]]:
    return [
        (r, {"tokens": r.tokens_each, "seconds": r.seconds, "dollars": r.dollars_each})
        for r in rows
    ]
