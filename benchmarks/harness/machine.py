"""The machine of a benchmark, without its name."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from colm.workers.evaluator.report import memory_gib, processor

#: Libraries that affect every benchmark.
LIBRARIES = ("celery", "kombu", "amqp", "pika", "sqlalchemy", "psycopg2-binary", "pydantic")


def describe(libraries: Iterable[str] = LIBRARIES) -> dict[str, Any]:
    """Processor, memory, system, versions of Python and libraries, and the current load."""
    return {
        "cpu": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory_gib(), 1),
        "load_before": round(os.getloadavg()[0], 2),
        "os": _system(),
        "python": platform.python_version(),
        "libraries": {name: release for name in libraries if (release := _version(name))},
    }


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        return platform.system()


def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None
