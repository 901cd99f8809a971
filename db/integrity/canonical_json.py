"""Canonical JSON: the bytes that the hashes of the audit are taken over.

A row must hash the same before its insertion and after it is read back, on PostgreSQL and SQLite:

- JSON in UTF-8, keys sorted by code point, no spaces, only the escapes that JSON demands;
- texts as the database holds them (`colm.db.columns.storable`);
- times in UTC with six digits of microseconds and a Z: 2026-03-01T12:00:00.123456Z;
- a number in the shortest decimal form that reads back as the same IEEE 754 double; whole numbers
  without point and exponent (JSONB stores 1e2 as 100);
- lists for tuples; no NaN, no infinity.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from colm.db.columns import storable

_SPELLING = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")
)

#: Below, every integer is a double.
_EXACT = 2.0**53


def plain(value: Any) -> Any:
    """`value` as JSON types in canonical form.

    Raises ValueError for NaN, infinity and naive times, TypeError for other types.
    """
    kind = type(value)
    if kind is str:
        return storable(value)
    if value is None or kind is int or kind is bool:
        return value
    if kind is dict:
        return {storable(str(key)): plain(item) for key, item in value.items()}
    if kind is list or kind is tuple:
        return [plain(item) for item in value]
    if kind is float:
        return _number(value)
    if kind is datetime:
        return _utc(value)
    for base in (str, int, float):
        if isinstance(value, base):
            return plain(base(value))
    raise TypeError(f"{kind.__name__} has no canonical form")


def canonical(value: Any) -> bytes:
    """The canonical bytes of `value`. Raises like `plain`."""
    return encode(plain(value))


def encode(value: Any) -> bytes:
    """The canonical bytes of a value that is `plain` already."""
    return _SPELLING.encode(value).encode()


def sha256(*parts: bytes) -> str:
    """The hex SHA-256 of the concatenated `parts`."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def _number(value: float) -> float | int:
    if not value.is_integer():
        if value != value or value in (float("inf"), float("-inf")):
            raise ValueError(f"{value} has no canonical form")
        return value
    # Beyond 2**53 the shortest form has other digits than the exact value.
    return int(value) if abs(value) < _EXACT else int(Decimal(repr(value)))


def _utc(value: datetime) -> str:
    if value.tzinfo is None:
        raise ValueError(f"{value.isoformat()} names no time zone")
    return value.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"
