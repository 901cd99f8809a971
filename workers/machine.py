"""What this machine is, as far as it explains figures; nothing that names it."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def described() -> str:
    """Processor, cores, memory and system in one line."""
    return (
        f"{processor()}, {os.cpu_count()} cores, {memory_gib():.0f} GiB,"
        f" {platform.system()} {platform.machine()}"
    )


def processor() -> str:
    """The processor's model, where the system tells it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
