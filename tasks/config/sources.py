"""Sources of settings: a colm.toml and COLM_* variables, as unvalidated values."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from colm.models.errors import SettingsError
from colm.tasks.config.paths import config_of_user, with_absolute_paths
from colm.tasks.config.service_links import is_address, is_service_link

#: Variables of the test suite.
TEST_PREFIX = "COLM_TEST_"


def current_folder() -> Path:
    """The current folder. Raises SettingsError if it was deleted."""
    try:
        return Path.cwd()
    except FileNotFoundError as error:
        raise SettingsError("the current folder was deleted: change to another one") from error


def file_of(environment: Mapping[str, str], folder: Path) -> Path | None:
    """The colm.toml to read; None if there is none."""
    if named := environment.get("COLM_CONFIG"):
        with _readable(path := folder / _expanded(named)):
            if not path.is_file():
                raise SettingsError(f"COLM_CONFIG names {path}, which is not a file")
        return path
    for path in filter(None, (folder / "colm.toml", config_of_user(environment))):
        with _readable(path):
            if path.is_file():
                return path
    return None


def read_file(path: Path) -> dict[str, Any]:
    """The values of a colm.toml. Raises SettingsError."""
    with _readable(path):
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise SettingsError(f"{path} is not valid TOML: {error}") from error
        return with_absolute_paths(values, path.absolute().parent)


def _expanded(named: str) -> Path:
    try:
        return Path(named).expanduser()
    except RuntimeError as error:
        raise SettingsError(f"COLM_CONFIG names {named}, and there is no home folder") from error


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from error


def from_environment(
    environment: Mapping[str, str], is_key: Callable[[Sequence[str]], bool]
) -> dict[str, Any]:
    """The values of COLM_* variables. A service link that `is_key` knows is a setting."""
    values: dict[str, Any] = {}
    for variable, text in environment.items():
        if not variable.startswith("COLM_") or variable.startswith(TEST_PREFIX):
            continue
        if variable == "COLM_CONFIG" or not text:  # an unset variable of a compose file is empty
            continue
        path = variable.removeprefix("COLM_").lower().split("__")
        if is_address(variable, text) or (is_service_link(variable, text) and not is_key(path)):
            continue
        values = merge(values, _nest(path, text))
    return values


def _nest(path: list[str], value: Any) -> dict[str, Any]:
    for key in reversed(path):
        value = {key: value}
    return dict(value)


def merge(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    """Deep merge of tables; `high` has precedence."""
    merged = dict(low)
    for key, value in high.items():
        below = merged.get(key)
        if isinstance(value, dict) and isinstance(below, dict):
            merged[key] = merge(below, value)
        else:
            merged[key] = value
    return merged
