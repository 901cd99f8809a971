"""Tests that have the machine for themselves, while other processes of their run wait."""

from __future__ import annotations

import fcntl
from pathlib import Path


class Turns:
    """One in every process of a test run, all with the same folder.

    Between `take` and `release` there are either any number of others or, if `alone`, none. Who
    waits to be alone is the next.
    """

    def __init__(self, folder: Path) -> None:
        self._door = (folder / "door.lock").open("w")
        self._room = (folder / "room.lock").open("w")
        self._kept = False

    def take(self, *, alone: bool) -> None:
        if self._kept:
            return
        # Who is to be alone keeps the door shut while the room empties.
        fcntl.flock(self._door, fcntl.LOCK_EX)
        fcntl.flock(self._room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(self._door, fcntl.LOCK_UN)

    def give_back(self, *, keep: bool = False) -> None:
        """With `keep` the next `take` changes nothing: it has to be as this one."""
        self._kept = keep
        if not keep:
            fcntl.flock(self._room, fcntl.LOCK_UN)

    def close(self) -> None:
        self._door.close()
        self._room.close()
