"""Checkpoints of the record, signed with the site's key, on command and in the coordinator."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Engine

from colm.db.audit.checkpoints import Checkpoint, write_checkpoint
from colm.models.errors import SettingsError
from colm.tasks.config.settings import Settings, settings
from colm.workers.audit import keys
from colm.workers.audit.keys import SiteKey
from colm.workers.periodic_thread import PeriodicThread

logger = logging.getLogger(__name__)


def key_path(site: Settings) -> Path:
    return Path(site.audit.key) if site.audit.key else site.home / "audit.key"


def site_key() -> SiteKey:
    """The key of this site; SettingsError says how to make one."""
    path = key_path(settings())
    key = keys.load(path)
    if key is None:
        raise SettingsError(f"there is no key at {path}: make one with 'colm audit key'")
    return key


def checkpoint_all(engine: Engine, key: SiteKey) -> list[Checkpoint]:
    """Record as many checkpoints as it takes to cover every ended query."""
    made = []
    while (checkpoint := write_checkpoint(engine, key, datetime.now(UTC))) is not None:
        keys.note_latest(key.path, checkpoint)
        made.append(checkpoint)
    return made


class CheckpointThread(PeriodicThread):
    """Thread that records checkpoints every `minutes`, from creation to `close`."""

    def __init__(self, engine: Engine, key: SiteKey, minutes: float) -> None:
        super().__init__("checkpoints", minutes * 60, self._record)
        self._engine, self._key = engine, key
        self.start()

    def _record(self) -> None:
        for checkpoint in checkpoint_all(self._engine, self._key):
            logger.info("checkpoint %d covers %d queries", checkpoint.number, checkpoint.queries)


def start_checkpoints(site: Settings, engine: Engine) -> CheckpointThread | None:
    """Start the thread if this machine has the key and `audit.checkpoint_minutes` is not 0."""
    key = keys.load(key_path(site)) if site.audit.checkpoint_minutes else None
    return None if key is None else CheckpointThread(engine, key, site.audit.checkpoint_minutes)
