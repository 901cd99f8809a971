"""Column types that give the same values back on PostgreSQL and on SQLite.

Neither database stores every Python string: PostgreSQL refuses NUL, both refuse lone surrogates.
A model can generate either, so they are replaced where everyone can see it, never dropped.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, DateTime, Dialect, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeDecorator

#: Stands in for NUL: SYMBOL FOR NULL.
VISIBLE_NUL = "\u2400"


def storable(text: str) -> str:
    """`text` with NUL as U+2400 and lone surrogates as backslash escapes."""
    text = text.replace("\x00", VISIBLE_NUL)
    if text.isascii():
        return text
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def storable_json(value: Any) -> Any:
    """`value` as it comes back from a JSON column: storable strings, lists for tuples."""
    match value:
        case str():
            return storable(value)
        case dict():
            return {storable(str(key)): storable_json(item) for key, item in value.items()}
        case list() | tuple():
            return [storable_json(item) for item in value]
        case _:
            return value


def to_json(value: Any) -> str:
    """JSON without NaN and infinities, which no standard parser reads; ValueError on those."""
    return json.dumps(storable_json(value), ensure_ascii=False, allow_nan=False)


class PlainText(TypeDecorator[str]):
    """Text of any length and content."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, _dialect: Dialect) -> str | None:
        return None if value is None else storable(value)


class UtcDateTime(TypeDecorator[datetime]):
    """An aware datetime, in UTC on the way out. Naive ones are a ValueError on the way in."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value.isoformat()} names no time zone")
        utc = value.astimezone(UTC)
        # SQLite has no time zones: all that it stores is UTC.
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


#: A JSON document; Python's None is SQL's NULL.
Json = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
