"""Images in the database, for a site whose image server has no folder of its own."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import Engine, select
from sqlalchemy.dialects import postgresql, sqlite

from db.engine import glancing, writing
from db.image_tables import images
from models.errors import ImageUnavailable
from models.images import Picture, image_id_of


class SqlImages:
    """Keeps images by the sha256 of their bytes; safe from many threads and processes."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def put(self, picture: Picture) -> None:
        """Keep it; once more is harmless."""
        row = {
            "image_id": picture.image_id,
            "media_type": picture.media_type,
            "width": picture.width,
            "height": picture.height,
            "data": picture.data,
            "at": datetime.now(UTC),
        }
        with writing(self._engine) as connection:
            dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
            connection.execute(dialect.insert(images).on_conflict_do_nothing(), row)

    def get(self, image_id: str, token: str = "") -> bytes:  # noqa: ARG002 - a store's signature
        """Raises ImageUnavailable; TransientError when the database is away."""
        wanted = select(images.c.data).where(images.c.image_id == image_id)
        with glancing(self._engine) as connection:
            data = connection.scalar(wanted)
        if data is None:
            raise ImageUnavailable(f"image {image_id[:12]} is not in the database")
        if image_id_of(data) != image_id:
            raise ImageUnavailable(f"image {image_id[:12]} was changed in the database")
        return bytes(data)
