"""Shell completion of names; empty where they cannot be looked up."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from typing import TYPE_CHECKING, get_args

from colm.models.errors import ColmError

if TYPE_CHECKING:  # completion imports only the modules of its names
    from colm.tasks.config.settings import Settings

#: Latest queries that are offered.
LATEST = 200


def _offered(names: Callable[[], Iterable[str]]) -> Callable[[str], list[str]]:
    """Completes names that begin with the typed text. Errors give no completions."""

    @wraps(names)
    def offer(incomplete: str) -> list[str]:
        try:
            return [name for name in names() if name.startswith(incomplete)]
        except (ColmError, OSError, ImportError):
            return []

    offer.__annotations__ = {"incomplete": str, "return": list[str]}
    del offer.__wrapped__  # typer would read its signature
    return offer


def _settings() -> Settings:
    from colm.tasks.config.settings import settings

    return settings()


@_offered
def runs() -> Iterable[str]:
    from colm.db.connection import connect
    from colm.db.runs import store

    return [run.run for run in store.list_runs(connect(_settings().database_url), limit=LATEST)]


@_offered
def queries() -> Iterable[str]:
    from colm.db.connection import connect
    from colm.db.reads.answers import recent_queries

    latest = recent_queries(connect(_settings().database_url), LATEST)
    return [query.query_id for query in latest]


@_offered
def clients() -> Iterable[str]:
    return _settings().clients


@_offered
def servers() -> Iterable[str]:
    return _settings().servers


@_offered
def participants() -> Iterable[str]:
    return [*_settings().clients, *_settings().servers]


@_offered
def strategies() -> Iterable[str]:
    from colm.models.strategies import STRATEGIES

    return STRATEGIES


@_offered
def statuses() -> Iterable[str]:
    from colm.db.reads.answers import Status

    return get_args(Status)
