"""Absolute paths of a site's files.

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
from typing import Annotated, Any
from urllib.parse import parse_qsl, unquote

from pydantic import AfterValidator

from colm.models.errors import SettingsError

#: Size of `sockaddr_un.sun_path` on Linux without the terminating zero.
MAX_SOCKET_PATH_BYTES = 107
#: The keys of colm.toml whose values are paths.
PATHS = (
    ("home",), ("cache",), ("tls", "ca"), ("tls", "certificate"), ("tls", "key"),
    ("audit", "key"), ("images", "secret_file"),
)  # fmt: skip
#: Keys whose defaults follow from a variable of the XDG base directories.
XDG = {"home": "XDG_STATE_HOME", "cache": "XDG_CACHE_HOME"}

#: Parameters of a SQLite URL; all but `timeout` are SQLite's own (uri=true).
SQLITE_PARAMETERS = {"cache", "immutable", "mode", "nolock", "psow", "uri", "vfs", "timeout"}

_SQLITE = re.compile(r"(sqlite:///)([^?]*)(.*)", re.DOTALL)
_PARAMETERS = re.compile(r"(\?\w+=[^&]*(&\w+=[^&]*)*)?", re.DOTALL)


def xdg_defaults(environment: Mapping[str, str]) -> dict[str, str]:
    """`home` and `cache` from the XDG variables; relative values are ignored."""
    bases = {key: environment.get(variable, "") for key, variable in XDG.items()}
    return {key: f"{base}/colm" for key, base in bases.items() if base.startswith("/")}


def config_of_user(environment: Mapping[str, str]) -> Path | None:
    """Path of the user's colm.toml, existing or not; None without a home folder."""
    base, home = environment.get("XDG_CONFIG_HOME", ""), environment.get("HOME", "")
    if not base.startswith("/"):
        base = f"{home}/.config" if home.startswith("/") else ""
    return Path(base) / "colm" / "colm.toml" if base else None


def with_absolute_paths(values: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The values of a colm.toml in `folder`, with absolute paths."""
    absolute_values = copy.deepcopy(dict(values))
    for *tables, key in PATHS:
        table: Any = absolute_values
        for name in tables:
            table = table.get(name) if isinstance(table, dict) else None
        if isinstance(table, dict) and isinstance(path := table.get(key), str) and path:
            table[key] = _beside(folder, path)
    if isinstance(absolute_values.get("database"), str):
        absolute_values["database"] = absolute_sqlite(absolute_values["database"], folder)
    for engine in _engines(absolute_values):
        model = engine.get("model")
        # A hub name looks like a path, too: a folder beside the file has precedence.
        if isinstance(model, str) and model and not Path(model).exists():
            beside = _beside(folder, model)
            engine["model"] = beside if Path(beside).exists() else model
    return absolute_values


def _engines(values: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The engine tables of all participants; other types are skipped."""
    for kind in ("clients", "servers"):
        participants = values.get(kind)
        for table in participants.values() if isinstance(participants, dict) else ():
            if isinstance(table, dict) and isinstance(table.get("engine"), dict):
                yield table["engine"]


def absolute(path: str | Path) -> Path:
    """The absolute path, with `~` expanded. Raises ValueError."""
    try:
        return Path(path).expanduser().absolute()
    except RuntimeError as error:
        raise ValueError(
            f"{str(path)!r} is in a home folder, and there is none: set HOME"
        ) from error
    except FileNotFoundError as error:
        raise ValueError(f"{str(path)!r} is relative to a deleted folder: set HOME") from error


AbsolutePath = Annotated[str, AfterValidator(lambda path: str(absolute(path)) if path else path)]


def sqlite_url(path: Path) -> str:
    """The URL of a SQLite file; `%` and `?` in its path are escaped."""
    return "sqlite:///" + str(path).replace("%", "%25").replace("?", "%3F")


def validate_sqlite_url(url: str) -> str:
    """The unchanged URL. Raises ValueError for an unknown parameter of SQLite."""
    parts = _SQLITE.fullmatch(url)
    if parts is None:
        return url
    if not _PARAMETERS.fullmatch(parts[3]):
        raise ValueError("no parameter after '?': write a ? in a path as %3F, a % as %25")
    for name, value in parse_qsl(parts[3].removeprefix("?"), keep_blank_values=True):
        if name not in SQLITE_PARAMETERS:
            valid = ", ".join(sorted(SQLITE_PARAMETERS))
            raise ValueError(f"{name!r} is no parameter of SQLite; valid are {valid}")
        if name == "timeout" and not re.fullmatch(r"\d+(\.\d+)?", value):
            raise ValueError("timeout is no number of seconds")
    return url


def absolute_sqlite(url: str, folder: Path) -> str:
    """The SQLite URL with a path relative to `folder` made absolute. Raises ValueError."""
    parts = _SQLITE.fullmatch(url)
    if parts is None:
        return url
    scheme, path = ("file:", parts[2][5:]) if parts[2].startswith("file:") else ("", parts[2])
    if not path or path.startswith(("/", ":")):
        return url
    whole = absolute(_beside(folder, unquote(path)))
    return parts[1] + scheme + sqlite_url(whole).removeprefix(parts[1]) + parts[3]


def broker_socket(home: Path) -> Path:
    """Socket of the embedded broker: in `home`, or in /tmp if that path is too long.

    Raises SettingsError if the folder in /tmp is another user's.
    """
    inside = home / "broker.sock"
    if len(os.fsencode(inside)) <= MAX_SOCKET_PATH_BYTES:
        return inside
    digest = hashlib.sha256(os.fsencode(home)).hexdigest()[:16]
    folder = Path(f"/tmp/colm-{os.getuid()}-{digest}")
    if not _ours(folder):
        raise SettingsError(
            f"{folder} is not private to this user, and the path of home is too long for a socket: "
            "remove that folder, or set COLM_HOME to a shorter path"
        )
    return folder / "broker.sock"


def make_home(home: Path) -> None:
    """Create the folder of a site's files, private to this user. Raises SettingsError."""
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
    """Create the folder with mode 700, whatever the umask; an existing one is unchanged."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        if not folder.is_dir():
            raise
    else:
        folder.chmod(0o700)


def _ours(folder: Path) -> bool:
    """Whether the folder is missing, or private to this user."""
    try:
        status = folder.lstat()
    except FileNotFoundError:
        return True
    private = stat.S_ISDIR(status.st_mode) and not status.st_mode & 0o077
    return private and status.st_uid == os.getuid()


def _beside(folder: Path, path: str) -> str:
    return path if path.startswith("~") else str(folder / path)
