"""Effect of collaboration on each client, against a control.

F is the set of items with a wrong draft. Recovery is the share of F whose refined answer is right,
regression the share of the others whose refined answer is wrong. A client that answers again
recovers some of F by chance: the control, `resample`, makes as many calls without guidance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from colm.evaluation.stats.statistics import Estimate, PairedDifference, accuracy, difference

#: Item -> (draft is right, refined answer is right). Unparsable is not right.
Flow = Mapping[str, tuple[bool, bool]]


@dataclass(frozen=True, kw_only=True)
class Change:
    """One client's change from drafts to refined answers."""

    n: int
    alone: Estimate | None
    after: Estimate | None
    #: Counts of right -> right, wrong -> right, right -> wrong, wrong -> wrong.
    stayed_right: int
    recovered: int
    spoiled: int
    still_wrong: int
    #: Shares of wrong drafts that became right, and of right ones that became wrong.
    recovery: Estimate | None
    regression: Estimate | None
    #: Refined answers against drafts.
    gain: PairedDifference | None


@dataclass(frozen=True, kw_only=True)
class Controlled:
    """A change and the control's, on their common items. Shared steps give equal drafts."""

    change: Change
    control: Change
    #: Items with a wrong draft in both: refined right, against the control.
    above_chance: PairedDifference | None
    #: Items with a right draft in both: refined wrong, against the control.
    spoiled_above_chance: PairedDifference | None


def change(flow: Flow, *, seed: int, clusters: Mapping[str, str] | None = None) -> Change:
    """The change of one client; `seed` is for sampled tests, `clusters` by item."""
    drafts = {item: before for item, (before, _) in flow.items()}
    refined = {item: after for item, (_, after) in flow.items()}
    failed = [item for item, right in drafts.items() if not right]
    held = [item for item, right in drafts.items() if right]
    recovered = sum(refined[item] for item in failed)
    spoiled = sum(not refined[item] for item in held)
    return Change(
        n=len(flow),
        alone=_share(drafts, list(flow), clusters),
        after=_share(refined, list(flow), clusters),
        stayed_right=len(held) - spoiled,
        recovered=recovered,
        spoiled=spoiled,
        still_wrong=len(failed) - recovered,
        recovery=_share(refined, failed, clusters),
        regression=_share({i: not right for i, right in refined.items()}, held, clusters),
        gain=difference(refined, drafts, seed=seed, clusters=clusters),
    )


def against_control(
    flow: Flow, control: Flow, *, seed: int, clusters: Mapping[str, str] | None = None
) -> Controlled:
    """A client's change and the control's, on their common items."""
    compare = partial(difference, seed=seed, clusters=clusters)
    shared = [item for item in flow if item in control]
    here, there = ({item: f[item] for item in shared} for f in (flow, control))
    failed = [i for i in shared if not here[i][0] and not there[i][0]]
    held = [i for i in shared if here[i][0] and there[i][0]]
    return Controlled(
        change=change(here, seed=seed, clusters=clusters),
        control=change(there, seed=seed, clusters=clusters),
        above_chance=compare({i: here[i][1] for i in failed}, {i: there[i][1] for i in failed}),
        spoiled_above_chance=compare(
            {i: not here[i][1] for i in held}, {i: not there[i][1] for i in held}
        ),
    )


def _share(
    right: Mapping[str, bool], items: list[str], clusters: Mapping[str, str] | None
) -> Estimate | None:
    named = [clusters.get(item, item) for item in items] if clusters else None
    return accuracy([right[item] for item in items], named)
