"""Rows of the report's tables, and their computation. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from colm.evaluation.stats.collaboration import Change, Controlled, Flow, against_control, change
from colm.evaluation.stats.costs import Cost, StageEnd, cost_of, total
from colm.evaluation.stats.run_data import EntryData, RunData, UnitData
from colm.evaluation.stats.statistics import Estimate, PairedDifference, accuracy, difference, holm

#: The control: it asks again without guidance.
CONTROL = "resample"

#: Units of each entry, by item.
Units = Mapping[str, Mapping[str, UnitData]]
#: Item -> cluster; None if items are independent.
Clusters = Mapping[str, str] | None


@dataclass(frozen=True, kw_only=True)
class EntryRow:
    """Accuracy, cost and latency of one entry."""

    name: str
    strategy: str
    n: int
    right: int
    unparsed: int
    failed: int
    accuracy: Estimate | None
    #: Sums over all its units.
    cost: Cost
    #: Seconds from question to answer: median and 95th percentile.
    seconds: float
    slow_seconds: float

    @property
    def tokens_each(self) -> float:
        return self.cost.tokens / self.n if self.n else 0.0

    @property
    def dollars_each(self) -> float:
        return self.cost.dollars / self.n if self.n else 0.0


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One entry against one baseline, on their common items."""

    entry: str
    baseline: str
    n: int
    paired: PairedDifference
    #: p, corrected over all comparisons.
    holm_p: float | None


@dataclass(frozen=True, kw_only=True)
class ClientRow:
    """One client in one entry: its change, and the control's."""

    entry: str
    client: str
    change: Change
    controlled: Controlled | None
    #: p of the recovery above chance, corrected over all clients.
    holm_p: float | None = None


@dataclass(frozen=True, kw_only=True)
class LedgerRow:
    """Generation by one participant for one act, over all units of an entry."""

    entry: str
    participant: str
    act: str
    calls: int
    prompt_tokens: int
    completion_tokens: int


def entry_row(
    entry: EntryData, units: Sequence[UnitData], data: RunData, clusters: Clusters
) -> EntryRow:
    seconds = sorted(unit.seconds for unit in units)
    named = [clusters[unit.item] for unit in units] if clusters else None
    return EntryRow(
        name=entry.name,
        strategy=entry.strategy,
        n=len(units),
        right=sum(unit.right for unit in units),
        unparsed=sum(unit.status == "unparsed" for unit in units),
        failed=sum(unit.status == "failed" for unit in units),
        accuracy=accuracy([unit.right for unit in units], named),
        cost=total(cost_of(unit.ledger, data.prices) for unit in units),
        seconds=statistics.median(seconds),
        slow_seconds=seconds[min(len(seconds) - 1, int(0.95 * len(seconds)))],
    )


def comparisons(
    units: Units, baselines: Sequence[str], clusters: Clusters, seed: int
) -> tuple[Comparison, ...]:
    """Every entry against every baseline; the first entry is the default baseline."""
    rows = []
    for baseline in baselines or list(units)[:1]:
        for name in units:
            if name == baseline or baseline not in units:
                continue
            first, other = (
                {i: u.right for i, u in units[which].items()} for which in (name, baseline)
            )
            gained = difference(first, other, seed=seed, clusters=clusters)
            if gained is not None:
                n = gained.gain.n
                rows.append(
                    Comparison(entry=name, baseline=baseline, n=n, paired=gained, holm_p=None)
                )
    corrected = holm([row.paired.p for row in rows])
    return tuple(replace(row, holm_p=p) for row, p in zip(rows, corrected, strict=True))


def client_rows(
    data: RunData, units: Units, clusters: Clusters, seed: int
) -> tuple[ClientRow, ...]:
    """Each client that drafts and refines in each entry, with the control if there is one."""
    flows = {name: _flows(mine.values()) for name, mine in units.items()}
    controls = [e.name for e in data.entries if e.strategy == CONTROL and e.name in units]
    control = flows[controls[0]] if controls else {}
    rows = []
    for entry in data.entries:
        for client, flow in flows.get(entry.name, {}).items():
            beside = None
            if client in control and entry.strategy != CONTROL:
                beside = against_control(flow, control[client], seed=seed, clusters=clusters)
            changed = change(flow, seed=seed, clusters=clusters)
            rows.append(
                ClientRow(entry=entry.name, client=client, change=changed, controlled=beside)
            )
    ps = holm(
        [
            r.controlled.above_chance.p if r.controlled and r.controlled.above_chance else None
            for r in rows
        ]
    )
    return tuple(replace(row, holm_p=p) for row, p in zip(rows, ps, strict=True))


def ledger_rows(entry: str, units: Iterable[UnitData]) -> Iterator[LedgerRow]:
    sums: dict[tuple[str, str], list[int]] = {}
    for unit in units:
        for line in unit.ledger:
            row = sums.setdefault((line.participant, line.act), [0, 0, 0])
            for place, count in enumerate((line.calls, line.prompt, line.completion)):
                row[place] += count
    for (participant, act), (calls, prompt, completion) in sums.items():
        yield LedgerRow(
            entry=entry,
            participant=participant,
            act=act,
            calls=calls,
            prompt_tokens=prompt,
            completion_tokens=completion,
        )


def stage_ends(units: Iterable[UnitData], data: RunData) -> list[StageEnd]:
    """Ends of the queries that defer by stages."""
    return [
        StageEnd(
            stage=unit.stage,
            right=unit.right,
            cost=cost_of(unit.ledger, data.prices),
            reached=unit.reached,
            accepted=unit.accepted,
        )
        for unit in units
        if unit.stage is not None
    ]


def _flows(units: Iterable[UnitData]) -> dict[str, Flow]:
    """Correctness of each client's drafts and refined answers, for items with both."""
    flows: dict[str, dict[str, tuple[bool, bool]]] = {}
    for unit in units:
        for name, texts in unit.clients.items():
            if texts.draft_text is not None and texts.refined_text is not None:
                pair = (texts.draft is True, texts.refined is True)
                flows.setdefault(name, {})[unit.item] = pair
    return dict(flows)
