"""Runs and units to fill a database with."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from colm.db.runs.units import Unit

NOW = datetime(2026, 3, 2, 22, 0, 0, tzinfo=UTC)
LATER = NOW + timedelta(seconds=30)
CONFIG: dict[str, Any] = {"data": {"path": "items.jsonl"}, "entries": [{"name": "alone"}]}


def a_unit(entry: str = "alone", example: str = "1", seed: int = 0, **changes: Any) -> Unit:
    fields: dict[str, Any] = {
        "query_id": f"query-{entry}-{example}-{seed}",
        "at": LATER,
        "status": "correct",
        "extracted": "4",
        "reason": None,
        "clients": {"ada": {"draft": "correct", "refined": None}},
        "detail": {},
        "prompt_tokens": 2**40,
        "completion_tokens": 7,
        "ledger": [{"participant": "ada", "calls": 1}],
        "seconds": 1.5,
    }
    return Unit(entry=entry, example=example, seed=seed, **{**fields, **changes})
