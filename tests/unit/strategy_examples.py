"""A query for each strategy that it can carry, to hold all of them to the same rules."""

from __future__ import annotations

from typing import Any

from colm.models.messages import Query
from tests.unit.examples import a_query

#: Options that make a strategy small, or that it cannot do without.
OPTIONS: dict[str, dict[str, Any]] = {
    "cascade": {"n": 2},
    "cope": {"n": 3},
    "judge": {"answers": ["Rayleigh scattering.", "The sea."]},
}


def a_query_for(strategy: str, *clients: str, **changes: Any) -> Query:
    options = OPTIONS.get(strategy, {}) | changes.pop("options", {})
    return a_query(*(clients or ("ada", "bo")), strategy=strategy, options=options, **changes)
