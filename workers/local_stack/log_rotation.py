"""Rotation of log files by size, for processes that append to an open file."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

logger = logging.getLogger(__name__)


def rotate(path: Path, max_bytes: int, backups: int) -> bool:
    """Copy a log larger than `max_bytes` to `PATH.1` and truncate it; True if it was larger.

    Older copies move up to `PATH.<backups>`; the oldest is deleted. The writer must use O_APPEND. A
    line written between copy and truncation is lost. If the copy fails, as on a full disk, the log
    is truncated all the same to make room.
    """
    try:
        if path.stat().st_size <= max_bytes:
            return False
        try:
            _shift(path, backups)
        except OSError as error:
            logger.warning("%s is truncated without a copy: %s", path.name, error)
            _copy(path, 1).unlink(missing_ok=True)  # incomplete
        os.truncate(path, 0)
    except OSError as error:
        if not isinstance(error, FileNotFoundError):
            logger.warning("%s is not rotated: %s", path.name, error)
        return False
    return True


def _shift(path: Path, backups: int) -> None:
    for number in range(backups - 1, 0, -1):
        older = _copy(path, number)
        if older.exists():
            older.replace(_copy(path, number + 1))
    shutil.copy2(path, _copy(path, 1))


def _copy(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")
