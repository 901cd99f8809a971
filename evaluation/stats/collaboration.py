"""What collaboration does to each client: what it recovers, what it spoils, against chance.

A client's failed set F are the items that its draft got wrong. Recovery is the share of F that its
refined answer gets right, regression the share of the rest that it gets wrong. A client that is
simply asked again recovers some of F by luck; the control, the strategy `resample`, spends the same
number of calls without guidance and shows how much. Collaboration recovers what is above that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from colm.evaluation.stats.statistics import Difference, Estimate, accuracy, difference

#: Whether the draft of an item is right, and the refined answer. Nothing parsed is not right.
Flow = Mapping[str, tuple[bool, bool]]


@dataclass(frozen=True, kw_only=True)
class Change:
    """One client's way from its drafts to its refined answers."""

    n: int
    alone: Estimate | None
    after: Estimate | None
    #: right -> right, wrong -> right, right -> wrong, wrong -> wrong.
    kept: int
    recovered: int
    spoiled: int
    still_wrong: int
    #: Of the wrong drafts, those now right; of the right ones, those now wrong.
    recovery: Estimate | None
    regression: Estimate | None
    #: The refined answers against the drafts.
    gain: Difference | None


@dataclass(frozen=True, kw_only=True)
class Controlled:
    """A change beside that of the control, on the items that both have.

    The control starts from the same drafts where the run shares equal steps, as a run does.
    """

    change: Change
    control: Change
    #: Of the items whose draft failed in both: refined right here against refined right there.
    above_chance: Difference | None
    #: Of the items whose draft was right in both: refined wrong here against there.
    spoiled_above_chance: Difference | None


def change(flow: Flow, *, seed: int, clusters: Mapping[str, str] | None = None) -> Change:
    """What became of one client's drafts, by item."""
    drafts = {item: before for item, (before, _) in flow.items()}
    refined = {item: after for item, (_, after) in flow.items()}
    failed = [item for item, right in drafts.items() if not right]
    held = [item for item, right in drafts.items() if right]
    recovered = sum(refined[item] for item in failed)
    spoiled = sum(not refined[item] for item in held)
    return Change(
        n=len(flow),
        alone=_share(drafts, list(flow), seed, clusters),
        after=_share(refined, list(flow), seed, clusters),
        kept=len(held) - spoiled,
        recovered=recovered,
        spoiled=spoiled,
        still_wrong=len(failed) - recovered,
        recovery=_share(refined, failed, seed, clusters),
        regression=_share({i: not right for i, right in refined.items()}, held, seed, clusters),
        gain=difference(refined, drafts, seed=seed, clusters=clusters),
    )


def against_control(
    flow: Flow, control: Flow, *, seed: int, clusters: Mapping[str, str] | None = None
) -> Controlled:
    """A client's change beside the control's, both on the items that both have."""
    shared = [item for item in flow if item in control]
    here, there = ({item: f[item] for item in shared} for f in (flow, control))
    failed = [i for i in shared if not here[i][0] and not there[i][0]]
    held = [i for i in shared if here[i][0] and there[i][0]]
    return Controlled(
        change=change(here, seed=seed, clusters=clusters),
        control=change(there, seed=seed, clusters=clusters),
        above_chance=difference(
            {i: here[i][1] for i in failed},
            {i: there[i][1] for i in failed},
            seed=seed,
            clusters=clusters,
        ),
        spoiled_above_chance=difference(
            {i: not here[i][1] for i in held},
            {i: not there[i][1] for i in held},
            seed=seed,
            clusters=clusters,
        ),
    )


def _share(
    right: Mapping[str, bool], items: list[str], seed: int, clusters: Mapping[str, str] | None
) -> Estimate | None:
    named = [clusters.get(item, item) for item in items] if clusters else None
    return accuracy([right[item] for item in items], named, seed=seed)
