"""Names made of other names: of workers, of processes, of log files, of an experiment's entries.

A name keeps to its limit whatever it is made of. The limits that a worker's name meets are those of
`Submission.worker` (characters), of a file's name and of a RabbitMQ queue's name (255 bytes each).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from colm.models.messages import MAX_WORKER_CHARS

#: The longest name that is made of several, and what is left of a process's and a host's (bytes).
MAX_JOINED_BYTES = 80
MAX_PROCESS_BYTES = 100
MAX_HOST_BYTES = 80


def joined(parts: Sequence[str], most: int = MAX_JOINED_BYTES) -> str:
    """The parts with "-" between them; if too long, the first ones, a count and a digest of all."""
    whole = "-".join(parts)
    if _size(whole) <= most:
        return whole
    for shown in range(len(parts) - 1, 0, -1):
        short = f"{'-'.join(parts[:shown])}-and-{len(parts) - shown}-more-{_digest(parts)}"
        if _size(short) <= most:
            return short
    kept = whole.encode(errors="replace")[: most - 9].decode(errors="ignore")
    return f"{kept.rstrip('-_.')}-{_digest(parts)}"


def joined_apart(groups: Sequence[Sequence[str]]) -> list[str]:
    """Each group joined; with a digest where another group has the same name: a-b, and a with b."""
    names = [joined(group) for group in groups]
    return [
        name if names.count(name) == 1 else f"{name}-{_digest(group)}"
        for name, group in zip(names, groups, strict=True)
    ]


def listed(names: Sequence[str], most: int = 12) -> str:
    """The names as a sentence has them: the first ones, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def worker_name(process: str, pid: int, host: str) -> str:
    """PROCESS.PID@HOST, as Celery names a node: different for every worker of a host."""
    name = f"{joined([process], MAX_PROCESS_BYTES)}.{pid}@{joined([host], MAX_HOST_BYTES)}"
    assert len(name) <= MAX_WORKER_CHARS
    return name


def _size(name: str) -> int:
    return len(name.encode(errors="replace"))


def _digest(parts: Sequence[str]) -> str:
    return hashlib.sha256("\x1f".join(parts).encode(errors="replace")).hexdigest()[:8]
