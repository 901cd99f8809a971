"""Detection of a running `colm up`, with its broker and database.

The stack holds a file lock, which the kernel releases when it ends. A process id proves nothing: it
is 1 in every container, and reused after a reboot.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
from pathlib import Path
from typing import Any

from colm.models.errors import SettingsError


def stack_file(home: Path) -> Path:
    """The file in which a running `colm up` names its broker and database."""
    return home / "stack.json"


def stack_lock(home: Path) -> Path:
    """The file that a running `colm up` holds locked."""
    return home / "stack.lock"


def this_stack(broker: str, database: str) -> dict[str, Any]:
    """Content of the stack file of this process."""
    process = os.getpid()
    identity = {"pid": process, "started": started(process), "boot": _boot()}
    return {**identity, "host": socket.gethostname(), "broker": broker, "database": database}


def running_stack(home: Path) -> tuple[str, str] | None:
    """Broker and database of the stack that runs on this machine with this home, if any.

    Raises SettingsError if its file cannot be read.
    """
    held = _held(stack_lock(home))
    if held is False:
        return None
    path = stack_file(home)
    try:
        stack = json.loads(path.read_text(encoding="utf-8"))
        process, broker, database = int(stack["pid"]), stack["broker"], stack["database"]
        boot, start = stack.get("boot"), stack.get("started")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise SettingsError(f"{path} cannot be read: {error!r}") from error
    elsewhere = boot is not None and boot != _boot()  # a home on a shared file system
    if elsewhere or (held is None and not (start and start == started(process))):
        return None
    return broker, database


def started(process: int) -> str:
    """Start time of the process in kernel ticks; empty without the process or /proc."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return ""
    # Field 22 of proc(5); the name before it may hold any character.
    return stat.rpartition(")")[2].split()[19]


def pid_namespace() -> str:
    """Identifier of a PID namespace: host name, boot and namespace."""
    try:
        space = os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        space = 0
    return f"{socket.gethostname()}/{_boot()[:8]}/{space}"


def _boot() -> str:
    """The boot id of this machine; empty if the system has none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _held(lock: Path) -> bool | None:
    """Whether a process holds the lock; None if that is unknown."""
    try:
        with lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
    except BlockingIOError:
        return True
    except OSError:
        return None
