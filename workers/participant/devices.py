"""`colm server --devices 0,1`: one process for each GPU, all consuming the same queues.

The broker distributes the steps. A process that lost its engine is restarted. When one ends for
another reason, the others get SIGTERM, and the service manager restarts the command.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from colm.models.errors import SettingsError
from colm.workers.supervisor import colm_command


def parse_devices(text: str, available: int) -> list[str]:
    """The devices that `text` lists, as settings name them. Raises SettingsError."""
    if not re.fullmatch(r"\d+(,\d+)*", text):
        raise SettingsError(f"--devices {text!r} is no list of numbers like 0,1")
    numbers = [int(number) for number in text.split(",")]
    if len(set(numbers)) < len(numbers):
        raise SettingsError(f"--devices {text} names a device twice")
    if beyond := [number for number in numbers if number >= available]:
        visible = f"{available} of them, from 0 on" if available else "none"
        raise SettingsError(
            f"--devices asks for CUDA device {beyond[0]}, but torch sees {visible}."
            " Install a CUDA build of torch and a driver, or leave --devices out"
        )
    return [f"cuda:{number}" for number in numbers]


def cuda_devices() -> int:
    from colm.tasks.config.settings import prepare_for_torch

    prepare_for_torch()
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def server_command(names: Sequence[str], threads: int | None, device: str) -> list[str]:
    """The command of the process for one device."""
    command = colm_command("server", *names, "--device", device)
    return command if threads is None else [*command, "--threads", str(threads)]
