"""Which queries a run asks, in which order, under which ids. Pure.

Every example is asked once for every entry and seed. All entries of an example come before the next
example, so that a run that stops early has compared its strategies on the same examples, and their
equal steps meet. A query's id and seed follow from its place in the plan alone: asked again after a
crash, it opens what is recorded.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from colm.db.runs.units import UnitKey
from colm.evaluation.data.examples import Example
from colm.evaluation.data.options import LETTERS
from colm.models.errors import InvalidAsk
from colm.models.messages import derive_seed
from colm.models.strategies import STRATEGIES
from colm.tasks.config.run_config import Entry, RunConfig
from colm.tasks.evaluations import ask_options


@dataclass(frozen=True, kw_only=True)
class Planned:
    """One query of a run."""

    run: str
    entry: Entry
    example: Example
    seed: int

    @property
    def key(self) -> UnitKey:
        return UnitKey(self.entry.name, self.example.id, self.seed)

    @property
    def query_id(self) -> str:
        return query_id_of(self.run, self.key)


def query_id_of(run: str, key: UnitKey, *more: str) -> str:
    """The id of a unit's query, or of another one for the same unit that `more` names."""
    parts = json.dumps([run, *key, *more]).encode()
    return f"u-{hashlib.sha256(parts).hexdigest()[:40]}"


def plan(
    run: str, config: RunConfig, examples: Sequence[Example], done: Collection[UnitKey]
) -> Iterator[Planned]:
    """What is left to do, in order."""
    for seed in config.seeds:
        for example in examples:
            for entry in config.entries:
                planned = Planned(run=run, entry=entry, example=example, seed=seed)
                if planned.key not in done:
                    yield planned


def planned_units(config: RunConfig, examples: Sequence[Example]) -> int:
    return len(config.seeds) * len(examples) * len(config.entries)


def options_of(config: RunConfig, planned: Planned) -> dict[str, Any]:
    """The keyword arguments of `ask` for a query of the run.

    Unless the run shares nothing, the seed does not depend on the entry: strategies that need the
    same draft get the same one.
    What kind of answer it is, which every strategy can be told, is the example's own. Raises
    InvalidAsk where likelihoods are wanted and the example has no choices.
    """
    asked = ask_options(config, planned.entry.name)
    if "kind" in STRATEGIES[planned.entry.strategy].options.model_fields:
        asked.setdefault("kind", planned.example.kind)
    if planned.entry.wants_visible_tests:
        asked |= tested_by(planned)
    if planned.entry.by_likelihood:
        asked["choices"] = continuations(planned)
    if planned.example.images:
        asked["images"] = list(planned.example.images)
    own = () if config.share else (planned.entry.name,)
    return {
        **asked,
        "seed": derive_seed("run", planned.seed, planned.example.id, *own),
        "lane": "overnight",
        "run": planned.run,
    }


def tested_by(planned: Planned) -> dict[str, Any]:
    """What an entry that is confident by tests asks with; by vote where the example shows none."""
    tests = planned.example.visible_tests
    return {"tests": tests} if tests else {"confidence": "vote"}


def continuations(planned: Planned) -> list[str]:
    """What the likelihoods of an example's choices are those of. Raises InvalidAsk for none."""
    choices = planned.example.choices
    if not choices:
        raise InvalidAsk("by_likelihood: the example has no choices")
    letters = planned.entry.by_likelihood == "letters"
    return list(LETTERS[: len(choices)]) if letters else list(choices)
