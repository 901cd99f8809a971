"""Waiting for the end of a query."""

from __future__ import annotations

from sqlalchemy import Engine

from colm.db.reads.completion_listener import wait_for_any


def wait_for_answer(engine: Engine, query_id: str, timeout: float) -> bool:
    """Return True as soon as the ask has ended, False after `timeout` seconds without.

    Does not care whether the query is known yet. Any number of calls wait on one connection, apart
    from the engine's pool. Raises TransientError.
    """
    return bool(wait_for_any(engine, (query_id,), timeout))
