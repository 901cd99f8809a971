"""Images in the database, for a site whose image server has no folder of its own."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import UTC, datetime

from sqlalchemy import Engine, delete, exists, select, update
from sqlalchemy.dialects import postgresql, sqlite

from colm.db.audit.erase import overwrite_what_is_freed
from colm.db.connection import autocommit, snapshot, transaction
from colm.db.schema import tables
from colm.db.schema.audit_tables import erasures
from colm.db.schema.image_table import images
from colm.models.errors import ImageUnavailable
from colm.models.images import Picture, image_id_of


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
        with transaction(self._engine) as connection:
            dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
            held = dialect.insert(images).on_conflict_do_update(
                index_elements=[images.c.image_id], set_={"at": row["at"]}
            )
            connection.execute(held, row)

    def get(self, image_id: str, token: str = "") -> bytes:  # noqa: ARG002 - a store's signature
        """Raises ImageUnavailable; TransientError when the database is away."""
        wanted = select(images.c.data).where(images.c.image_id == image_id)
        with autocommit(self._engine) as connection:
            data = connection.scalar(wanted)
        if data is None:
            raise ImageUnavailable(f"image {image_id[:12]} is not in the database")
        if image_id_of(data) != image_id:
            raise ImageUnavailable(f"image {image_id[:12]} was changed in the database")
        return bytes(data)

    def hold(self, image_id: str) -> None:
        """As if it were put once more. Raises ImageUnavailable where it is not there."""
        held = update(images).where(images.c.image_id == image_id).values(at=datetime.now(UTC))
        with transaction(self._engine) as connection:
            if not connection.execute(held).rowcount:
                raise ImageUnavailable(f"image {image_id[:12]} is not in the database")

    def remove(self, image_id: str, before: datetime) -> bool:
        """False if it stays, because it was put or held since `before`."""
        this = images.c.image_id == image_id
        with transaction(self._engine) as connection:
            overwrite_what_is_freed(connection)
            connection.execute(delete(images).where(this, images.c.at < before))
            return connection.scalar(select(images.c.image_id).where(this)) is None

    def old(self, before: datetime, after: str = "") -> Iterator[str]:
        """Images last put or held before then, by name, from the one that follows `after`."""
        found = select(images.c.image_id).where(images.c.at < before, images.c.image_id > after)
        with autocommit(self._engine) as connection:
            names = connection.scalars(found.order_by(images.c.image_id)).all()
        yield from names


def images_of(engine: Engine, query_ids: Collection[str]) -> set[str]:
    """The images that these queries show, erased or not."""
    queries = tables.queries.c
    found: set[str] = set()
    with snapshot(engine) as connection:
        for query_id in query_ids:
            shown = select(queries.images).where(queries.query_id == query_id)
            found.update(connection.scalar(shown) or ())
    return found


def still_shown(engine: Engine, image_ids: Collection[str]) -> set[str]:
    """Those of them that a query shows whose texts are not erased. Reads every such query."""
    queries, wanted = tables.queries.c, set(image_ids)
    found: set[str] = set()
    is_erased = exists().where(erasures.c.query_id == queries.query_id)
    naming = select(queries.images).where(queries.images.is_not(None), ~is_erased)
    with snapshot(engine) as connection:
        for named in connection.execution_options(yield_per=1000).scalars(naming):
            found |= wanted.intersection(named)
    return found
