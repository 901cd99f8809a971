"""Implementation of `colm audit key|checkpoint|export`."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import typer

from colm.db.audit.export import export
from colm.db.connection import connect
from colm.db.reads.answers import whole_id
from colm.models.errors import ColmError
from colm.tasks.config.settings import settings
from colm.workers.audit import keys
from colm.workers.audit.checkpoints import checkpoint_all, key_path, site_key


def show_key(*, as_json: bool) -> None:
    path = key_path(settings())
    found = keys.load(path)
    made = found is None
    key = found or keys.create(path)
    if as_json:
        typer.echo(json.dumps({"key": key.key, "path": str(path), "made": made}))
        return
    if made:
        typer.echo(f"made a key in {path}; keep a copy of that file in a safe place", err=True)
    typer.echo(key.key)


def checkpoint_now(*, as_json: bool) -> None:
    key, engine = site_key(), connect(settings().database_url, pool_size=1)
    made = checkpoint_all(engine, key)
    if as_json:
        told = [{"checkpoint": s.number, "queries": s.queries, "hash": s.hash} for s in made]
        typer.echo(json.dumps(told))
        return
    for checkpoint in made:
        typer.echo(
            f"checkpoint {checkpoint.number} covers {checkpoint.queries} queries: {checkpoint.hash}"
        )
    if not made:
        typer.echo("no checkpoint recorded: no query has ended since the latest one")


def export_query(query: str, output: Path) -> None:
    key, engine = site_key(), connect(settings().database_url, pool_size=1)
    document = export(engine, whole_id(engine, query), key, datetime.now(UTC))
    try:
        output.write_text(
            json.dumps(document, ensure_ascii=False, indent=1) + "\n", encoding="utf-8"
        )
    except OSError as error:
        raise ColmError(f"{output} cannot be written: {error.strerror}") from error
    typer.echo(f"wrote {output}: {len(document['rows'])} rows, signed by {key.key}")
