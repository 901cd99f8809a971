"""Removal of images that no query refers to any more, for `colm erase` and `colm purge`.

Queries may share an image, which goes with the last of them. It stays for an hour after its last
upload: its query may not be recorded yet.
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

#: Image names looked up in the record at once.
BATCH = 10_000


def remove_of(engine: Engine, query_ids: Collection[str], now: datetime) -> None:
    """Removes the images of these queries, and prints which stay and why."""
    named = images_of(engine, query_ids)
    if not named:
        return
    referenced = images_in_use(engine, named)
    where = store()
    recent = [name for name in sorted(named - referenced) if not where.remove(name, now - SETTLED)]
    typer.echo(f"removed {len(named) - len(referenced) - len(recent)} images")
    if referenced:
        typer.echo(f"{len(referenced)} images stay: other queries refer to them")
    if recent:
        typer.echo(
            f"{len(recent)} images stay for now: uploaded within the hour, their query may not be"
            " recorded yet; run this again later",
            err=True,
        )


def remove_old(engine: Engine, before: datetime, now: datetime) -> None:
    """Removes unreferenced images last uploaded before that time and over an hour ago."""
    where, before = store(), min(before, now - SETTLED)
    removed = sum(
        where.remove(name, before)
        for names in _batches(where.old(before))
        for name in sorted(set(names) - images_in_use(engine, names))
    )
    if removed:
        typer.echo(f"removed {removed} unreferenced images")


def _batches(names: Iterator[str]) -> Iterable[list[str]]:
    while batch := list(islice(names, BATCH)):
        yield batch
