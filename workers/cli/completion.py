"""What the shell is offered for the names of a site; nothing where they cannot be looked up."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from typing import get_args

from colm.models.errors import ColmError

#: The latest queries that are offered.
LATEST = 200


def _offered(names: Callable[[], Iterable[str]]) -> Callable[[str], list[str]]:
    """Those of `names` that begin as what was typed: a shell must hear of no error."""

    @wraps(names)
    def offer(incomplete: str) -> list[str]:
        try:
            return [name for name in names() if name.startswith(incomplete)]
        except (ColmError, OSError, ImportError):
            return []

    offer.__annotations__ = {"incomplete": str, "return": list[str]}
    del offer.__wrapped__  # typer would look at its signature
    return offer


@_offered
def runs() -> Iterable[str]:
    from colm.db.connection import connect
    from colm.db.runs import store as recorded
    from colm.tasks.config.settings import settings

    return [run.run for run in recorded.list_runs(connect(settings().database_url), limit=LATEST)]


@_offered
def queries() -> Iterable[str]:
    from colm.db.connection import connect
    from colm.db.reads.answers import recent_queries
    from colm.tasks.config.settings import settings

    found = recent_queries(connect(settings().database_url), LATEST)
    return [query.query_id for query in found]


@_offered
def clients() -> Iterable[str]:
    from colm.tasks.config.settings import settings

    return settings().clients


@_offered
def servers() -> Iterable[str]:
    from colm.tasks.config.settings import settings

    return settings().servers


@_offered
def participants() -> Iterable[str]:
    from colm.tasks.config.settings import settings

    return [*settings().clients, *settings().servers]


@_offered
def strategies() -> Iterable[str]:
    from colm.models.strategies import STRATEGIES

    return STRATEGIES


@_offered
def statuses() -> Iterable[str]:
    from colm.db.reads.answers import Status

    return get_args(Status)
