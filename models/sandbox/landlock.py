"""Landlock: file access restricted to named paths, without privileges (Linux 6.2 or newer)."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterable

from colm.models.sandbox.syscalls import call

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # alike on every machine
_VERSION, _PATH_BENEATH = 1, 1
#: The first ABI version that restricts truncation.
_MIN_VERSION = 3

_EVERYTHING = (1 << 15) - 1  # execute, write, read, list, remove, make, link, truncate
_READING = 1 << 2 | 1 << 3
_READING_A_FILE = 1 << 2
_WORKING = _EVERYTHING & ~(1 << 0 | 1 << 6 | 1 << 9 | 1 << 11)  # no programs, devices, sockets


def restrict_files(readable: Iterable[str], writable: str) -> None:
    """Restrict this process to reading in `readable` and working in `writable`, for good.

    Raises OSError if the kernel has no Landlock, or a version before 3.
    """
    if call(_CREATE_RULESET, None, 0, _VERSION) < _MIN_VERSION:
        raise OSError(errno.ENOSYS, "Landlock is too old to guard truncation")
    rules = call(_CREATE_RULESET, struct.pack("Q", _EVERYTHING), 8, 0)
    for path in readable:
        _allow(rules, path, _READING if os.path.isdir(path) else _READING_A_FILE)
    _allow(rules, writable, _WORKING)
    call(_RESTRICT_SELF, rules, 0)
    os.close(rules)


def _allow(rules: int, path: str, access: int) -> None:
    beneath = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        call(_ADD_RULE, rules, _PATH_BENEATH, struct.pack("=Qi", access, beneath), 0)
    finally:
        os.close(beneath)
