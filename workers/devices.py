"""`colm server --devices 0,1`: a process of its own for each GPU, all reading the same queues.

The broker hands a step to whoever is free, so nothing else divides the work. A process that ends
itself because its engine hangs or its device is lost is started again. Otherwise the processes
stand and fall together: when one ends, the others are told to, and whoever keeps the service up
starts all of them again.
"""

from __future__ import annotations

import logging
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence

from models.errors import SettingsError
from workers.generator import EX_SOFTWARE
from workers.services import dying_with_parent

logger = logging.getLogger(__name__)

#: How often the processes are looked at (seconds).
LOOK_EVERY = 0.2
#: Before a process that lost its engine is started again (seconds).
RESTART_PAUSE = 1.0


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
    from tasks.settings import prepare_for_torch

    prepare_for_torch()
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def server_command(names: Sequence[str], threads: int | None, device: str) -> list[str]:
    """The same command for one device."""
    command = [sys.executable, "-m", "workers", "server", *names, "--device", device]
    return command if threads is None else [*command, "--threads", str(threads)]


def run_together(
    commands: Sequence[Sequence[str]], stopped: Callable[[float], bool] | None = None
) -> int:
    """Run all until the first ends, or SIGTERM or Ctrl-C comes; the first failure's exit status.

    One that ends with EX_SOFTWARE is started again, after a pause.
    """
    wait = stopped or _signalled()
    children = [_start(command) for command in commands]
    while not wait(LOOK_EVERY):
        codes = [child.poll() for child in children]
        if any(code not in (None, EX_SOFTWARE) for code in codes):
            break
        for number in [n for n, code in enumerate(codes) if code == EX_SOFTWARE]:
            logger.error("process %d lost its engine; starting it again", number)
            if wait(RESTART_PAUSE):
                break
            children[number] = _start(commands[number])
    for child in children:
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)  # a warm shutdown: what runs is finished
    return next((code for child in children if (code := child.wait())), 0)


def _start(command: Sequence[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, preexec_fn=dying_with_parent(), start_new_session=True)


def _signalled() -> Callable[[float], bool]:
    stop = threading.Event()
    for sign in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sign, lambda *_: stop.set())
    return stop.wait
