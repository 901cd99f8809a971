"""`colm audit key`, `seal`, `export`: what is done with the site's key."""

from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Engine

from colm.db.audit.seals import Seal, seal_ended
from colm.models.errors import SettingsError, TransientError
from colm.tasks.config.settings import Settings, settings
from colm.workers.audit import keys
from colm.workers.audit.keys import SiteKey

logger = logging.getLogger(__name__)


def key_path(config: Settings) -> Path:
    return Path(config.audit.key) if config.audit.key else config.home / "audit.key"


def site_key() -> SiteKey:
    """The key of this site. Raises SettingsError, which says how to create one."""
    path = key_path(settings())
    key = keys.load(path)
    if key is None:
        raise SettingsError(f"there is no key at {path}: make one with 'colm audit key'")
    return key


def seal_all(engine: Engine, key: SiteKey) -> list[Seal]:
    """Seal every ended query that is not sealed, in as many seals as that takes."""
    made = []
    while (seal := seal_ended(engine, key, datetime.now(UTC))) is not None:
        keys.note_latest(key.path, seal)
        made.append(seal)
    return made


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


def sealer(config: Settings, engine: Engine) -> Sealer | None:
    """A sealer, where this machine has the site's key and the settings ask for it."""
    key = keys.load(key_path(config)) if config.audit.seal_minutes else None
    return None if key is None else Sealer(engine, key, config.audit.seal_minutes)
