"""Checkpoints of the record, signed with the site's key, on command and in the coordinator."""

from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Engine

from colm.db.audit.checkpoints import Checkpoint, write_checkpoint
from colm.models.errors import SettingsError, TransientError
from colm.tasks.config.settings import Settings, settings
from colm.workers.audit import keys
from colm.workers.audit.keys import SiteKey

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


def checkpoint_all(engine: Engine, key: SiteKey) -> list[Checkpoint]:
    """Record as many checkpoints as it takes to cover every ended query."""
    made = []
    while (checkpoint := write_checkpoint(engine, key, datetime.now(UTC))) is not None:
        keys.note_latest(key.path, checkpoint)
        made.append(checkpoint)
    return made


class CheckpointThread:
    """Thread that records checkpoints every `minutes`, until `close`."""

    def __init__(self, engine: Engine, key: SiteKey, minutes: float) -> None:
        self._engine, self._key, self._every = engine, key, minutes * 60
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="checkpoints", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(timeout=5.0)

    def _loop(self) -> None:
        while not self._stop.wait(self._every):
            try:
                for checkpoint in checkpoint_all(self._engine, self._key):
                    logger.info(
                        "checkpoint %d covers %d queries", checkpoint.number, checkpoint.queries
                    )
            except TransientError as error:
                logger.warning("the next checkpoint is delayed: %s", error)
            except Exception:  # the outermost loop: the next checkpoint must be tried
                logger.exception("the checkpoint could not be recorded")


def start_checkpoints(found: Settings, engine: Engine) -> CheckpointThread | None:
    """Start the thread if this machine has the key and `audit.checkpoint_minutes` is not 0."""
    key = keys.load(key_path(found)) if found.audit.checkpoint_minutes else None
    return None if key is None else CheckpointThread(engine, key, found.audit.checkpoint_minutes)
