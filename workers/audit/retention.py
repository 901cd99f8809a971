"""`colm purge` and `colm erase`: letting go of what must not be kept, without losing the proof."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import typer
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress
from sqlalchemy import Engine

from colm.db.audit import purge
from colm.db.audit.erase import compact, ended_of_run, erase
from colm.db.connection import connect
from colm.models.errors import CallerError
from colm.tasks.config.settings import settings
from colm.workers.audit import keys
from colm.workers.audit.checkpoints import checkpoint_all, key_path
from colm.workers.audit.image_retention import remove_of, remove_old
from colm.workers.audit.keys import SiteKey

_UNITS = {"d": 86_400, "h": 3_600, "m": 60}


def age(text: str) -> timedelta:
    """90d, 12h, 30m. Raises CallerError for anything else."""
    match = re.fullmatch(r"(\d{1,7})([dhm])", text.strip())
    if match is None:
        raise CallerError(f"{text!r} is no age: say 90d, 12h or 30m")
    return timedelta(seconds=int(match[1]) * _UNITS[match[2]])


def purge_older(older_than: str, batch: int, reason: str, *, dry_run: bool, images: bool) -> None:
    """Batch by batch; what was interrupted is gone on with by the same command."""
    before = datetime.now(UTC) - age(older_than)
    engine = connect(settings().database_url, pool_size=1)
    count = purge.count_ended_before(engine, before)
    if dry_run:
        typer.echo(f"{count} queries ended before {before:%Y-%m-%d %X} UTC; none was removed")
        return
    key = _key()
    if key is not None and count:
        checkpoint_all(engine, key)
    removed = _purge(engine, before, batch, reason, key, count)
    letters = 0
    while found := purge.purge_dead_letters(engine, before, batch):
        letters += found
    typer.echo(f"removed {removed} queries and {letters} dead letters of no query")
    _settle(engine, changed=bool(removed or letters))
    if images:
        remove_old(engine, before, datetime.now(UTC))


def _purge(
    engine: Engine, before: datetime, batch: int, reason: str, key: SiteKey | None, count: int
) -> int:
    removed = 0
    with _bar() as bar:
        task = bar.add_task("purging queries", total=count)
        while ids := purge.ended_before(engine, before, batch):
            done = purge.purge(engine, ids, reason=reason, now=datetime.now(UTC), signer=key)
            if not done:
                break  # another purge has them
            removed += done
            bar.update(task, completed=removed)
    return removed


def erase_texts(
    query: str | None, run: str | None, asked_by: str, reason: str, *, images: bool
) -> None:
    """What was erased before is not erased again; images that had to stay then may go now."""
    engine, key = connect(settings().database_url, pool_size=1), _key()
    ids = [query] if query is not None else ended_of_run(engine, run or "")
    erased, rows = 0, 0
    with _bar() as bar:
        for query_id in bar.track(ids, description="erasing texts"):
            found = erase(
                engine,
                query_id,
                asked_by=asked_by,
                reason=reason,
                now=datetime.now(UTC),
                signer=key,
            )
            erased, rows = erased + bool(found), rows + found
    typer.echo(f"erased the texts of {erased} queries, in {rows} rows")
    if images:
        remove_of(engine, ids, datetime.now(UTC))
    _settle(engine, changed=bool(rows))


def _settle(engine: Engine, *, changed: bool) -> None:
    """Have the freed bytes forgotten, or say what is left to do."""
    if changed and engine.dialect.name == "postgresql":
        typer.echo("PostgreSQL keeps old versions of rows on disk until VACUUM", err=True)
    elif changed and not compact(engine):
        typer.echo("a reader kept the database's log from being emptied: run this again", err=True)


def _key() -> SiteKey | None:
    return keys.load(key_path(settings()))


def _bar() -> Progress:
    console = Console(stderr=True)
    return Progress(
        *Progress.get_default_columns(),
        MofNCompleteColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
