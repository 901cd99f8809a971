"""`colm audit key`, `seal`, `export`: what is done with the site's key."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Engine

from colm.db.audit.seals import Seal, seal_ended
from colm.models.errors import SettingsError
from colm.tasks.config.settings import Settings, settings
from colm.workers.audit import keys
from colm.workers.audit.keys import SiteKey
from colm.workers.periodic_thread import PeriodicThread

logger = logging.getLogger(__name__)


def key_path(found: Settings) -> Path:
    return Path(found.audit.key) if found.audit.key else found.home / "audit.key"


def site_key() -> SiteKey:
    """The key of this site; SettingsError says how to make one."""
    path = key_path(settings())
    found = keys.load(path)
    if found is None:
        raise SettingsError(f"there is no key at {path}: make one with 'colm audit key'")
    return found


def seal_all(engine: Engine, key: SiteKey) -> list[Seal]:
    """Seal every ended query that is not sealed, in as many seals as that takes."""
    made = []
    while (seal := seal_ended(engine, key, datetime.now(UTC))) is not None:
        keys.note_latest(key.path, seal)
        made.append(seal)
    return made


class Sealer(PeriodicThread):
    """Thread that seals ended queries every `minutes`, from creation to `close`."""

    def __init__(self, engine: Engine, key: SiteKey, minutes: float) -> None:
        super().__init__("sealer", minutes * 60, self._seal)
        self._engine, self._key = engine, key
        self.start()

    def _seal(self) -> None:
        for seal in seal_all(self._engine, self._key):
            logger.info("seal %d covers %d queries", seal.number, seal.queries)


def sealer(found: Settings, engine: Engine) -> Sealer | None:
    """A sealer, where this machine has the site's key and the settings ask for it."""
    key = keys.load(key_path(found)) if found.audit.seal_minutes else None
    return None if key is None else Sealer(engine, key, found.audit.seal_minutes)
