"""Rotation of log files by size, for processes that only append to theirs."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

logger = logging.getLogger(__name__)


def rotate(path: Path, max_bytes: int, backups: int) -> bool:
    """Copy a log larger than `max_bytes` to `PATH.1` and empty it; whether it was.

    Older copies move up to `PATH.<backups>`, and the oldest goes. The writer keeps its file open:
    it has to write with O_APPEND. A line that it writes between copy and truncation is lost. Where
    no copy can be kept, as on a full disk, the log is emptied all the same: that makes room.
    """
    try:
        if path.stat().st_size <= max_bytes:
            return False
        try:
            _keep(path, backups)
        except OSError as error:
            logger.warning("no copy of %s is kept: %s", path.name, error)
            _copy(path, 1).unlink(missing_ok=True)  # a part of one
        os.truncate(path, 0)
    except OSError as error:
        if not isinstance(error, FileNotFoundError):
            logger.warning("%s is not rotated: %s", path.name, error)
        return False
    return True


def _keep(path: Path, backups: int) -> None:
    for number in range(backups - 1, 0, -1):
        older = _copy(path, number)
        if older.exists():
            older.replace(_copy(path, number + 1))
    shutil.copy2(path, _copy(path, 1))


def _copy(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")
