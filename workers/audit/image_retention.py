"""What `colm erase` and `colm purge` do about images: those that no query shows any more go.

One image may belong to many queries. It goes with the last of them, and not within an hour of when
it was last put: the question that it was put for may not be recorded yet.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from datetime import datetime
from itertools import islice

import typer
from sqlalchemy import Engine

from colm.db.images import images_in_use, images_of
from colm.tasks.images.client import store
from colm.tasks.images.stores import SETTLED

#: Names of images that are looked up in the record at once.
BATCH = 10_000


def remove_of(engine: Engine, query_ids: Collection[str], now: datetime) -> None:
    """Remove the images of these queries, and say which stay and why."""
    named = images_of(engine, query_ids)
    if not named:
        return
    shown = images_in_use(engine, named)
    where = store()
    recent = [name for name in sorted(named - shown) if not where.remove(name, now - SETTLED)]
    typer.echo(f"removed {len(named) - len(shown) - len(recent)} images")
    if shown:
        typer.echo(f"{len(shown)} images stay: other queries show them")
    if recent:
        typer.echo(
            f"{len(recent)} images stay for now: they were put within the hour, and a question"
            " about them may be on its way; run this again later",
            err=True,
        )


def remove_old(engine: Engine, before: datetime, now: datetime) -> None:
    """Remove every image last put before then, and not within the hour, that no query shows."""
    where, before = store(), min(before, now - SETTLED)
    removed = sum(
        where.remove(name, before)
        for names in _batches(where.old(before))
        for name in sorted(set(names) - images_in_use(engine, names))
    )
    if removed:
        typer.echo(f"removed {removed} images that no query shows")


def _batches(names: Iterator[str]) -> Iterable[list[str]]:
    while batch := list(islice(names, BATCH)):
        yield batch
