"""Validation errors of pydantic models, as text that names the nearest valid key."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeGuard, get_args, get_origin

from pydantic import BaseModel, ValidationError

from colm.models.roster import nearest


def describe(model: type[BaseModel], error: ValidationError, variables: str = "") -> str:
    """The error of validating `model`. `variables` is the prefix of its environment variables."""
    return "; ".join(_descriptions(model, error, variables))


def _descriptions(model: type[BaseModel], error: ValidationError, variables: str) -> Iterator[str]:
    for item in error.errors(include_url=False, include_input=False):
        path = [str(part) for part in item["loc"]]
        key, message = ".".join(path), item["msg"].removeprefix("Value error, ")
        if item["type"] != "extra_forbidden":
            yield f"{key}: {message}" if key else message
            continue
        variable = f" (or variable {variables}{'__'.join(path).upper()})" if variables else ""
        yield f"unknown key {key!r}{variable}{nearest(path[-1], keys_at(model, path[:-1]))}"


def keys_at(model: type[BaseModel], path: Sequence[str]) -> list[str]:
    """The valid keys of the table at `path`, of which a number is an index. Raises KeyError."""
    kind: Any = model
    for key in path:
        if _is_table(kind):
            kind = kind.model_fields[key].annotation
        elif get_origin(kind) is dict:
            kind = get_args(kind)[1]
        elif get_origin(kind) is tuple:
            kind = get_args(kind)[0]
    return list(kind.model_fields) if _is_table(kind) else []


def _is_table(kind: Any) -> TypeGuard[type[BaseModel]]:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
