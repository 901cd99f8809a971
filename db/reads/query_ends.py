"""What a run's evaluator asks of many queries at once."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Engine, select

from colm.db.connection import autocommit
from colm.db.schema.tables import OPEN, progress, queries


def known_among(engine: Engine, query_ids: Collection[str]) -> set[str]:
    """Which of these queries the record knows, ended or not. Raises TransientError."""
    with autocommit(engine) as connection:
        known = select(queries.c.query_id).where(queries.c.query_id.in_(tuple(query_ids)))
        return set(connection.scalars(known))


def open_queries(engine: Engine, run: str) -> list[str]:
    """The queries of a run that have not ended. Raises TransientError."""
    with autocommit(engine) as connection:
        found = select(queries.c.query_id).where(
            queries.c.query_id.in_(select(progress.c.query_id).where(OPEN)), queries.c.run == run
        )
        return list(connection.scalars(found))
