"""The queries of a run, their order and ids. Pure.

Every example is asked once for every entry and seed, and all entries of an example come before the
next example: a run that stops early has compared its strategies on the same examples. A query's id
and seed depend only on its place in the plan: asked again after a crash, it opens the recorded one.
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
    """The id of a unit's query, or of a further one that `more` names."""
    parts = json.dumps([run, *key, *more]).encode()
    return f"u-{hashlib.sha256(parts).hexdigest()[:40]}"


def plan(
    run: str, config: RunConfig, examples: Sequence[Example], done: Collection[UnitKey]
) -> Iterator[Planned]:
    """The remaining queries, in order."""
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

    With sharing the seed does not depend on the entry, so that strategies share equal drafts. The
    kind of answer is the example's. Raises InvalidAsk for likelihoods without choices.
    """
    options = ask_options(config, planned.entry.name)
    if "kind" in STRATEGIES[planned.entry.strategy].options.model_fields:
        options.setdefault("kind", planned.example.kind)
    if planned.entry.wants_visible_tests:
        options |= tested_by(planned)
    if planned.entry.by_likelihood:
        options["choices"] = continuations(planned)
    if planned.example.images:
        options["images"] = list(planned.example.images)
    own = () if config.share else (planned.entry.name,)
    return {
        **options,
        "seed": derive_seed("run", planned.seed, planned.example.id, *own),
        "lane": "overnight",
        "run": planned.run,
    }


def tested_by(planned: Planned) -> dict[str, Any]:
    """The options of an entry with confidence by tests; by vote without visible tests."""
    tests = planned.example.visible_tests
    return {"tests": tests} if tests else {"confidence": "vote"}


def continuations(planned: Planned) -> list[str]:
    """The texts whose likelihoods are compared. Raises InvalidAsk without choices."""
    choices = planned.example.choices
    if not choices:
        raise InvalidAsk("by_likelihood: the example has no choices")
    letters = planned.entry.by_likelihood == "letters"
    return list(LETTERS[: len(choices)]) if letters else list(choices)
