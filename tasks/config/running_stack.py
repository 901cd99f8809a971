"""Whether `colm up` runs with a home, and which broker and database it uses.

A running stack holds a lock, which ends with it however it ends. Its process id proves nothing: in
a container it is 1 as the next one's is, and after a reboot it is anybody's.
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
    """Where a running `colm up` says which broker and database it uses."""
    return home / "stack.json"


def stack_lock(home: Path) -> Path:
    """The file that a running `colm up` holds locked."""
    return home / "stack.lock"


def this_stack(broker: str, database: str) -> dict[str, Any]:
    """What the process that is the stack says in its file."""
    process = os.getpid()
    told = {"pid": process, "started": started(process), "boot": _boot()}
    return {**told, "host": socket.gethostname(), "broker": broker, "database": database}


def running_stack(home: Path) -> tuple[str, str] | None:
    """Broker and database of the stack that runs here with this home; None where none does.

    Raises SettingsError for a running stack whose file cannot be read.
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
    elsewhere = boot is not None and boot != _boot()  # a home that several machines share
    if elsewhere or (held is None and not (start and start == started(process))):
        return None
    return broker, database


def started(process: int) -> str:
    """When the process started, in the kernel's ticks; empty if there is none, or no /proc."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return ""
    # Field 22 of proc(5), counted after the name, which may hold anything.
    return stat.rpartition(")")[2].split()[19]


def here() -> str:
    """What names the processes among which an id means one: a machine, its start, a container."""
    try:
        space = os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        space = 0
    return f"{socket.gethostname()}/{_boot()[:8]}/{space}"


def _boot() -> str:
    """What names this start of this machine; empty where the system does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _held(lock: Path) -> bool | None:
    """Whether a process holds the lock; None where that cannot be told."""
    try:
        with lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
    except BlockingIOError:
        return True
    except OSError:
        return None
