"""Linux namespaces and a private root: the interpreter's files, read-only, and an empty folder."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

from colm.models.sandbox.syscalls import (
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
    call,
    enter_root,
    mount,
    unshare,
)

_READ_ONLY, _NO_SUID, _NO_DEVICES, _BIND, _RECURSIVE, _PRIVATE = 1, 2, 4, 4096, 1 << 14, 1 << 18
_MOUNT_SETATTR, _AT_RECURSIVE, _AT_FDCWD = 442, 0x8000, -100
#: Path of the empty folder inside the root.
WORK = "/work"


def new_namespaces(uid: int, gid: int) -> None:
    """Unshare network, PID, mount, IPC and UTS namespaces.

    Raises OSError for unprivileged users if the kernel forbids user namespaces.
    """
    spaces = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS
    if uid == 0:
        unshare(spaces)
        return
    unshare(spaces | CLONE_NEWUSER)
    with contextlib.suppress(FileNotFoundError):
        _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{uid} {uid} 1")
    _write("/proc/self/gid_map", f"{gid} {gid} 1")


def private_root(folder: str, owner: tuple[int, int], megabytes: int) -> None:
    """Pivot the root to a tmpfs at `folder` with only Python's files and an empty `WORK`."""
    mount("none", "/", None, _RECURSIVE | _PRIVATE)
    size = f"size={megabytes}m,nr_inodes=4096,mode=755"
    mount("tmpfs", folder, "tmpfs", _NO_SUID | _NO_DEVICES, size)
    for source in interpreter_folders():
        _bind_read_only(source, folder)
    work = folder + WORK
    os.mkdir(work, 0o700)
    os.chown(work, *owner)
    enter_root(folder)
    os.chdir(WORK)


def interpreter_folders() -> list[str]:
    """The folders of Python and of the shared libraries."""
    paths = [sys.base_prefix, sys.base_exec_prefix, "/usr/lib", "/usr/lib64", "/lib", "/lib64"]
    return list(dict.fromkeys(path for path in paths if os.path.exists(path)))


def _bind_read_only(source: str, root: str) -> None:
    target = root + source
    if os.path.lexists(target):
        return
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if os.path.islink(source):
        os.symlink(os.readlink(source), target)
        return
    os.mkdir(target)
    mount(source, target, None, _BIND | _RECURSIVE)
    attributes = b"".join(_numbers(_READ_ONLY | _NO_SUID | _NO_DEVICES, 0, 0, 0))
    call(_MOUNT_SETATTR, _AT_FDCWD, os.fsencode(target), _AT_RECURSIVE, attributes, 32)


def _numbers(*values: int) -> Iterator[bytes]:
    return (value.to_bytes(8, sys.byteorder) for value in values)


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)
