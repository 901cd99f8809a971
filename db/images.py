"""Image store in the database, for an image server without a folder of its own."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import UTC, datetime

from sqlalchemy import Engine, delete, exists, select, update
from sqlalchemy.dialects import postgresql, sqlite

from colm.db.audit.erase import enable_secure_delete
from colm.db.connection import autocommit, snapshot, transaction
from colm.db.schema import tables
from colm.db.schema.audit_tables import erasures
from colm.db.schema.image_table import images
from colm.models.errors import ImageUnavailable
from colm.models.images import Picture, image_id_of

_COLUMNS = ("image_id", "media_type", "width", "height", "data")


class SqlImages:
    """Images by the sha256 of their bytes. Safe for threads and processes."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def put(self, picture: Picture) -> None:
        """Store the image. A repeat renews its time."""
        row = {name: getattr(picture, name) for name in _COLUMNS} | {"at": datetime.now(UTC)}
        with transaction(self._engine) as connection:
            dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
            statement = dialect.insert(images).on_conflict_do_update(
                index_elements=[images.c.image_id], set_={"at": row["at"]}
            )
            connection.execute(statement, row)

    def get(self, image_id: str, token: str = "") -> bytes:  # noqa: ARG002 - a store's signature
        """The bytes of the image. Raises ImageUnavailable; TransientError for an outage."""
        statement = select(images.c.data).where(images.c.image_id == image_id)
        with autocommit(self._engine) as connection:
            data = connection.scalar(statement)
        if data is None:
            raise ImageUnavailable(f"image {image_id[:12]} is not in the database")
        if image_id_of(data) != image_id:
            raise ImageUnavailable(f"image {image_id[:12]} was changed in the database")
        return bytes(data)

    def hold(self, image_id: str) -> None:
        """Renew the time of the image. Raises ImageUnavailable if it is not stored."""
        statement = update(images).where(images.c.image_id == image_id).values(at=datetime.now(UTC))
        with transaction(self._engine) as connection:
            if not connection.execute(statement).rowcount:
                raise ImageUnavailable(f"image {image_id[:12]} is not in the database")

    def remove(self, image_id: str, before: datetime) -> bool:
        """Delete the image unless its time is `before` or later. False if it stays."""
        this = images.c.image_id == image_id
        with transaction(self._engine) as connection:
            enable_secure_delete(connection)
            connection.execute(delete(images).where(this, images.c.at < before))
            return connection.scalar(select(images.c.image_id).where(this)) is None

    def old(self, before: datetime, after: str = "") -> Iterator[str]:
        """Ids after `after`, in order, of images whose time is earlier than `before`."""
        statement = select(images.c.image_id).where(images.c.at < before, images.c.image_id > after)
        with autocommit(self._engine) as connection:
            names = connection.scalars(statement.order_by(images.c.image_id)).all()
        yield from names


def images_of(engine: Engine, query_ids: Collection[str]) -> set[str]:
    """Ids of the images of these queries, erased or not."""
    queries = tables.queries.c
    image_ids: set[str] = set()
    with snapshot(engine) as connection:
        for query_id in query_ids:
            statement = select(queries.images).where(queries.query_id == query_id)
            image_ids.update(connection.scalar(statement) or ())
    return image_ids


def images_in_use(engine: Engine, image_ids: Collection[str]) -> set[str]:
    """The images that an unerased query uses. Reads every query with images."""
    queries, candidates = tables.queries.c, set(image_ids)
    still_used: set[str] = set()
    is_erased = exists().where(erasures.c.query_id == queries.query_id)
    naming = select(queries.images).where(queries.images.is_not(None), ~is_erased)
    with snapshot(engine) as connection:
        for named in connection.execution_options(yield_per=1000).scalars(naming):
            still_used |= candidates.intersection(named)
    return still_used
