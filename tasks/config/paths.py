"""Where a site's files lie: paths made absolute, whoever says them and wherever it is read.

A relative path in colm.toml is relative to that file, one in a variable to the current folder.
"""

from __future__ import annotations

import copy
import hashlib
import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote

from colm.models.errors import SettingsError

#: What `sockaddr_un` can hold on Linux, without its closing zero byte.
MAX_SOCKET_PATH_BYTES = 107
#: The keys of colm.toml whose values are paths.
PATHS = (
    ("home",), ("cache",), ("tls", "ca"), ("tls", "certificate"), ("tls", "key"),
    ("audit", "key"), ("images", "secret_file"),
)  # fmt: skip
#: Variables of the XDG base directories, and the keys whose defaults follow from them.
XDG = {"home": "XDG_STATE_HOME", "cache": "XDG_CACHE_HOME"}

#: Parameters of a SQLite file's URL; all but `timeout` are those of its own URIs (uri=true).
OF_SQLITE = {"cache", "immutable", "mode", "nolock", "psow", "uri", "vfs", "timeout"}

_SQLITE = re.compile(r"(sqlite:///)([^?]*)(.*)", re.DOTALL)
_PARAMETERS = re.compile(r"(\?\w+=[^&]*(&\w+=[^&]*)*)?", re.DOTALL)


def xdg_defaults(environment: Mapping[str, str]) -> dict[str, str]:
    """`home` and `cache` where the XDG variables say so; they count if they are absolute."""
    said = {key: environment.get(variable, "") for key, variable in XDG.items()}
    return {key: f"{base}/colm" for key, base in said.items() if base.startswith("/")}


def config_of_user(environment: Mapping[str, str]) -> Path | None:
    """The user's own colm.toml, there or not; None where the user has no such folder."""
    base, home = environment.get("XDG_CONFIG_HOME", ""), environment.get("HOME", "")
    if not base.startswith("/"):
        base = f"{home}/.config" if home.startswith("/") else ""
    return Path(base) / "colm" / "colm.toml" if base else None


def anchored(values: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The values of a colm.toml in `folder`, with the relative paths among them made absolute."""
    found = copy.deepcopy(dict(values))
    for *tables, key in PATHS:
        table: Any = found
        for name in tables:
            table = table.get(name) if isinstance(table, dict) else None
        if isinstance(table, dict) and isinstance(path := table.get(key), str) and path:
            table[key] = _beside(folder, path)
    if isinstance(found.get("database"), str):
        found["database"] = absolute_sqlite(found["database"], folder)
    for engine in _engines(found):
        model = engine.get("model")
        # A hub's name looks like a path, too: what lies beside the file is meant, if it is there.
        if isinstance(model, str) and model and not Path(model).exists():
            beside = _beside(folder, model)
            engine["model"] = beside if Path(beside).exists() else model
    return found


def _engines(values: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The engine tables of all participants, as far as they are tables."""
    for kind in ("clients", "servers"):
        participants = values.get(kind)
        for one in participants.values() if isinstance(participants, dict) else ():
            if isinstance(one, dict) and isinstance(one.get("engine"), dict):
                yield one["engine"]


def absolute(path: str | Path) -> Path:
    """The path with `~` expanded, from the current folder on. Raises ValueError."""
    try:
        return Path(path).expanduser().absolute()
    except RuntimeError as error:
        raise ValueError(
            f"{str(path)!r} lies in a home folder, and there is none: set HOME"
        ) from error
    except FileNotFoundError as error:
        raise ValueError(f"{str(path)!r} is relative to a folder that is gone: set HOME") from error


def sqlite_url(path: Path) -> str:
    """The URL of a SQLite file, whatever its path holds."""
    return "sqlite:///" + str(path).replace("%", "%25").replace("?", "%3F")


def checked_sqlite(url: str) -> str:
    """The URL as it is. Raises ValueError where what follows a ? is no parameter of SQLite's."""
    found = _SQLITE.fullmatch(url)
    if found is None:
        return url
    if not _PARAMETERS.fullmatch(found[3]):
        raise ValueError("what follows ? is no parameter: write a ? in a path as %3F, a % as %25")
    for name, value in parse_qsl(found[3].removeprefix("?"), keep_blank_values=True):
        if name not in OF_SQLITE:
            known = ", ".join(sorted(OF_SQLITE))
            raise ValueError(f"{name!r} is no parameter of SQLite's; there are: {known}")
        if name == "timeout" and not re.fullmatch(r"\d+(\.\d+)?", value):
            raise ValueError("timeout is no number of seconds")
    return url


def absolute_sqlite(url: str, folder: Path) -> str:
    """The URL with its file's path absolute, from `folder` on; any other as it is.

    Raises ValueError.
    """
    found = _SQLITE.fullmatch(url)
    if found is None:
        return url
    scheme, path = ("file:", found[2][5:]) if found[2].startswith("file:") else ("", found[2])
    if not path or path.startswith(("/", ":")):
        return url
    whole = absolute(_beside(folder, unquote(path)))
    return found[1] + scheme + sqlite_url(whole).removeprefix(found[1]) + found[3]


def broker_socket(home: Path) -> Path:
    """The socket of the embedded broker: in `home`, or in /tmp where its path would be too long.

    Raises SettingsError where somebody else has made the folder in /tmp.
    """
    inside = home / "broker.sock"
    if len(os.fsencode(inside)) <= MAX_SOCKET_PATH_BYTES:
        return inside
    digest = hashlib.sha256(os.fsencode(home)).hexdigest()[:16]
    folder = Path(f"/tmp/colm-{os.getuid()}-{digest}")
    if not _ours(folder):
        raise SettingsError(
            f"{folder} is not this user's alone, and the path of home is too long for a socket in "
            "it: remove that folder, or set COLM_HOME to a shorter path"
        )
    return folder / "broker.sock"


def make_home(home: Path) -> None:
    """The folder of a site's files, closed to others if it is new. Raises SettingsError."""
    try:
        make_private(home)
    except OSError as error:
        why = f"cannot be made: {error.strerror}"
    else:
        if os.access(home, os.W_OK | os.X_OK):
            return
        why = "cannot be written by this user"
    raise SettingsError(
        f"home ({home}) {why}; set COLM_HOME to a folder of yours, or COLM_DATABASE to a database"
    )


def make_private(folder: Path) -> None:
    """Make the folder for this user alone, whatever the umask; one that is there stays as it is."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        if not folder.is_dir():
            raise
    else:
        folder.chmod(0o700)


def _ours(folder: Path) -> bool:
    """Whether the folder is not there yet, or ours and closed to others."""
    try:
        found = folder.lstat()
    except FileNotFoundError:
        return True
    private = stat.S_ISDIR(found.st_mode) and not found.st_mode & 0o077
    return private and found.st_uid == os.getuid()


def _beside(folder: Path, path: str) -> str:
    return path if path.startswith("~") else str(folder / path)
