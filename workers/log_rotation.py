"""Rotation of log files by size, for processes that only append to theirs."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def rotate(path: Path, max_bytes: int, backups: int) -> bool:
    """Copy a log larger than `max_bytes` to `PATH.1` and empty it; whether it was.

    Older copies move up to `PATH.<backups>`, and the oldest goes. The writer keeps its file open:
    it has to write with O_APPEND. A line that it writes between copy and truncation is lost.
    """
    try:
        if path.stat().st_size <= max_bytes:
            return False
        for number in range(backups - 1, 0, -1):
            older = _copy(path, number)
            if older.exists():
                older.replace(_copy(path, number + 1))
        shutil.copy2(path, _copy(path, 1))
        os.truncate(path, 0)
    except FileNotFoundError:
        return False
    return True


def _copy(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")
