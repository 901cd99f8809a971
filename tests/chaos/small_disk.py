"""A disk of a few hundred megabytes that can be filled without harm to anybody else."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

#: Room for PostgreSQL's files and log, and for one wave.
MEGABYTES = 160


@cache
def why_none() -> str | None:
    """Why this user cannot have such a disk; None where it can."""
    if os.geteuid() != 0:
        return "a file system of limited size can be mounted by root only"
    try:
        with small_disk():
            return None
    except OSError as error:
        return f"nothing can be mounted here: {error}"


@contextmanager
def small_disk() -> Iterator[Path]:
    """A folder with a file system of its own, in memory. Raises OSError where root may not."""
    with TemporaryDirectory(prefix="colm-disk-", dir="/tmp") as name:
        folder = Path(name)
        _do("mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m,mode=755", "tmpfs", name)
        try:
            folder.chmod(0o755)
            yield folder
        finally:
            _do("umount", "--lazy", name)


def _do(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OSError(done.stderr.strip())
