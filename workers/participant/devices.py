"""`colm server --devices 0,1`: a process of its own for each GPU, all reading the same queues.

The broker hands a step to whoever is free, so nothing else divides the work. A process that ends
itself because its engine hangs or its device is lost is started again. Otherwise the processes
stand and fall together: when one ends, the others are told to, and whoever keeps the service up
starts all of them again.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Sequence

from colm.models.errors import SettingsError

logger = logging.getLogger(__name__)


def parse_devices(text: str, available: int) -> list[str]:
    """The devices that `text` lists, as settings name them; SettingsError says what is wrong."""
    if not re.fullmatch(r"\d+(,\d+)*", text):
        raise SettingsError(f"--devices {text!r} is no list of numbers like 0,1")
    numbers = [int(number) for number in text.split(",")]
    if len(set(numbers)) < len(numbers):
        raise SettingsError(f"--devices {text} names a device twice")
    if beyond := [number for number in numbers if number >= available]:
        seen = f"{available} of them, from 0 on" if available else "none"
        raise SettingsError(
            f"--devices asks for CUDA device {beyond[0]}, but torch sees {seen}."
            " Install a CUDA build of torch and a driver, or leave --devices out"
        )
    return [f"cuda:{number}" for number in numbers]


def cuda_devices() -> int:
    from colm.tasks.config.settings import prepare_for_torch

    prepare_for_torch()
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def server_command(names: Sequence[str], threads: int | None, device: str) -> list[str]:
    """The same command for one device."""
    command = [sys.executable, "-m", "colm.workers", "server", *names, "--device", device]
    return command if threads is None else [*command, "--threads", str(threads)]
