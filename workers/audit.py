"""`colm audit key`, `seal`, `export`: what is done with the site's key."""

from __future__ import annotations

import json
import logging
import threading
from datetime import UTC, datetime
from pathlib import Path

import typer
from sqlalchemy import Engine

from db.bundles import export
from db.engine import connect
from db.seals import Seal, seal_ended
from models.errors import ColmError, SettingsError, TransientError
from tasks.settings import Settings, settings
from workers import audit_keys
from workers.audit_keys import SiteKey
from workers.reading import whole_id

logger = logging.getLogger(__name__)


def key_path(found: Settings) -> Path:
    return Path(found.audit.key) if found.audit.key else found.home / "audit.key"


def site_key() -> SiteKey:
    """The key of this site; SettingsError says how to make one."""
    path = key_path(settings())
    found = audit_keys.load(path)
    if found is None:
        raise SettingsError(f"there is no key at {path}: make one with 'colm audit key'")
    return found


def show_key(*, as_json: bool) -> None:
    path = key_path(settings())
    found = audit_keys.load(path)
    made = found is None
    key = found or audit_keys.create(path)
    if as_json:
        typer.echo(json.dumps({"key": key.key, "path": str(path), "made": made}))
        return
    if made:
        typer.echo(f"made a key in {path}; keep a copy of that file in a safe place", err=True)
    typer.echo(key.key)


def seal_now(*, as_json: bool) -> None:
    key, engine = site_key(), connect(settings().database_url, pool_size=1)
    made = seal_all(engine, key)
    if as_json:
        told = [{"seal": s.number, "queries": s.queries, "hash": s.hash} for s in made]
        typer.echo(json.dumps(told))
        return
    for seal in made:
        typer.echo(f"seal {seal.number} covers {seal.queries} queries: {seal.hash}")
    if not made:
        typer.echo("nothing to seal: no query has ended since the latest seal")


def seal_all(engine: Engine, key: SiteKey) -> list[Seal]:
    """Seal every ended query that is not sealed, in as many seals as that takes."""
    made = []
    while (seal := seal_ended(engine, key, datetime.now(UTC))) is not None:
        audit_keys.note_latest(key.path, seal)
        made.append(seal)
    return made


def export_query(query: str, output: Path) -> None:
    key, engine = site_key(), connect(settings().database_url, pool_size=1)
    bundle = export(engine, whole_id(engine, query), key, datetime.now(UTC))
    try:
        output.write_text(json.dumps(bundle, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise ColmError(f"{output} cannot be written: {error.strerror}") from error
    typer.echo(f"wrote {output}: {len(bundle['rows'])} rows, signed by {key.key}")


class Sealer:
    """Seals in a thread of its own, every so many minutes, until `close`."""

    def __init__(self, engine: Engine, key: SiteKey, minutes: float) -> None:
        self._engine, self._key, self._every = engine, key, minutes * 60
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="sealer", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(timeout=5.0)

    def _loop(self) -> None:
        while not self._stop.wait(self._every):
            try:
                for seal in seal_all(self._engine, self._key):
                    logger.info("seal %d covers %d queries", seal.number, seal.queries)
            except TransientError as error:
                logger.warning("sealing waits: %s", error)
            except Exception:  # the outermost loop: the next seal must be tried
                logger.exception("the record could not be sealed")


def sealer(found: Settings, engine: Engine) -> Sealer | None:
    """A sealer, where this machine has the site's key and the settings ask for it."""
    key = audit_keys.load(key_path(found)) if found.audit.seal_minutes else None
    return None if key is None else Sealer(engine, key, found.audit.seal_minutes)
