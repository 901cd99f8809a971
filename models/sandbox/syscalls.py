"""System calls that Python lacks, through ctypes and the C library."""

from __future__ import annotations

import ctypes
import os
import platform
import struct

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38
_CAPABILITY_VERSION_3 = 0x20080522
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_CAPSET = {"x86_64": 126, "aarch64": 91}

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_libc.mount.argtypes = [*[ctypes.c_char_p] * 3, ctypes.c_ulong, ctypes.c_char_p]


def call(number: int, *arguments: object) -> int:
    """A system call by number; integers are passed as longs. Raises OSError."""
    longs = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    return _checked(int(_libc.syscall(ctypes.c_long(number), *longs)))


def number_of(table: dict[str, int]) -> int:
    """This machine's number of a system call. Raises OSError for other architectures."""
    try:
        return table[platform.machine()]
    except KeyError:
        raise OSError(f"no table of system calls for {platform.machine()}") from None


def unshare(flags: int) -> None:
    _checked(_libc.unshare(flags))


def mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    encoded = [None if text is None else os.fsencode(text) for text in (source, target, kind, data)]
    _checked(_libc.mount(*encoded[:3], flags, encoded[3]))


def enter_root(folder: str) -> None:
    """pivot_root to `folder`, a mount point, and detach the old root."""
    os.chdir(folder)
    call(number_of(_PIVOT_ROOT), b".", b".")
    _checked(_libc.umount2(b".", 2))  # MNT_DETACH
    os.chdir("/")


def die_with_parent() -> None:
    prctl(_PR_SET_PDEATHSIG, 9)


def forbid_new_privileges() -> None:
    """Set no_new_privs, and make the process not dumpable (no ptrace)."""
    prctl(_PR_SET_NO_NEW_PRIVS, 1)
    prctl(_PR_SET_DUMPABLE, 0)


def drop_capabilities() -> None:
    header = struct.pack("Ii", _CAPABILITY_VERSION_3, 0)
    call(number_of(_CAPSET), header, bytes(24))


def prctl(option: int, value: object, *more: object) -> None:
    filled = [value, *more, *([0] * 4)][:4]
    longs = [ctypes.c_ulong(a) if isinstance(a, int) else a for a in filled]
    _checked(_libc.prctl(option, *longs))


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
