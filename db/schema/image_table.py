"""The table of images. The record names an image by its sha256."""

from __future__ import annotations

from sqlalchemy import Column, Integer, LargeBinary, Table

from colm.db.columns import PlainText, UtcDateTime
from colm.db.schema.tables import metadata

images = Table(
    "images",
    metadata,
    Column("image_id", PlainText, primary_key=True),
    Column("media_type", PlainText, nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("data", LargeBinary, nullable=False),
    Column("at", UtcDateTime, nullable=False),
)
