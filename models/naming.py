"""Composed names of workers, processes, log files and experiment entries, within length limits.

A worker's name fits `Submission.worker` (characters), a file name and a RabbitMQ queue name (255
bytes each).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from colm.models.messages import MAX_WORKER_CHARS

#: Limits of a joined name, and of the process and host in a worker's name.
MAX_JOINED_BYTES = 80
MAX_PROCESS_BYTES = 100
MAX_HOST_BYTES = 80


def join_names(parts: Sequence[str], limit: int = MAX_JOINED_BYTES) -> str:
    """The parts joined by "-"; if too long, the first ones, a count, and a digest of all."""
    whole = "-".join(parts)
    if _size(whole) <= limit:
        return whole
    for count in range(len(parts) - 1, 0, -1):
        short = f"{'-'.join(parts[:count])}-and-{len(parts) - count}-more-{_digest(parts)}"
        if _size(short) <= limit:
            return short
    prefix = whole.encode(errors="replace")[: limit - 9].decode(errors="ignore")
    return f"{prefix.rstrip('-_.')}-{_digest(parts)}"


def join_groups(groups: Sequence[Sequence[str]]) -> list[str]:
    """Each group joined, with a digest if another group has that name (["a-b"] and ["a", "b"])."""
    names = [join_names(group) for group in groups]
    return [
        name if names.count(name) == 1 else f"{name}-{_digest(group)}"
        for name, group in zip(names, groups, strict=True)
    ]


def list_names(names: Sequence[str], limit: int = 12) -> str:
    """The first `limit` names for a sentence, and the number of others."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def worker_name(process: str, pid: int, host: str) -> str:
    """Celery node name PROCESS.PID@HOST, unique on its host."""
    name = f"{join_names([process], MAX_PROCESS_BYTES)}.{pid}@{join_names([host], MAX_HOST_BYTES)}"
    assert len(name) <= MAX_WORKER_CHARS
    return name


def _size(name: str) -> int:
    return len(name.encode(errors="replace"))


def _digest(parts: Sequence[str]) -> str:
    return hashlib.sha256("\x1f".join(parts).encode(errors="replace")).hexdigest()[:8]
