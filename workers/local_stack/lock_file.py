"""Lock file that allows one stack, or one embedded broker, a folder."""

from __future__ import annotations

import fcntl
import os
import socket
import time
from pathlib import Path
from typing import BinaryIO

from colm.models.errors import ColmError

_POLL_SECONDS = 0.01


class ServiceError(ColmError):
    """A private service could not be started."""


def acquire_lock_file(path: Path, timeout: float = 2.0) -> BinaryIO:
    """The locked file; the lock lasts until every process that inherited it has closed it.

    Raises ServiceError after `timeout` seconds. A server needs a moment to end after its parent
    was killed.
    """
    lock = path.open("a+b")
    deadline = time.monotonic() + timeout
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > deadline:
                lock.seek(0)
                process, _, host = lock.read(400).decode(errors="replace").partition(" ")
                lock.close()
                where = f" on {host}" if host not in ("", socket.gethostname()) else ""
                raise ServiceError(
                    f"another stack (process {process or 'unknown'}{where}) runs in {path.parent}:"
                    " stop it, or choose another folder"
                ) from error
            time.sleep(_POLL_SECONDS)
        else:
            lock.truncate(0)
            lock.write(f"{os.getpid()} {socket.gethostname()}".encode())
            lock.flush()
            return lock
