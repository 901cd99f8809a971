"""Column types that return the same values on PostgreSQL and SQLite.

PostgreSQL refuses NUL, both refuse lone surrogates; models generate both, so they are replaced
visibly.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, DateTime, Dialect, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeDecorator

#: SYMBOL FOR NULL, in place of NUL.
VISIBLE_NUL = "\u2400"


def storable(text: str) -> str:
    """`text` with NUL as U+2400 and lone surrogates as backslash escapes."""
    text = text.replace("\x00", VISIBLE_NUL)
    if text.isascii():
        return text
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def storable_json(value: Any) -> Any:
    """`value` as a JSON column returns it: storable strings, lists for tuples."""
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
    """JSON text. Raises ValueError for NaN and infinity."""
    return json.dumps(storable_json(value), ensure_ascii=False, allow_nan=False)


class PlainText(TypeDecorator[str]):
    """Text of any length and content."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, _dialect: Dialect) -> str | None:
        return None if value is None else storable(value)


class UtcDateTime(TypeDecorator[datetime]):
    """An aware datetime, read back in UTC. Raises ValueError for a naive one."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value.isoformat()} names no time zone")
        utc = value.astimezone(UTC)
        # SQLite has no time zones: it stores UTC.
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


#: A JSON document; Python's None is SQL's NULL.
Json = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
