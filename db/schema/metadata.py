"""The catalogue of tables with its naming rule, and columns that several tables share."""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, MetaData

from colm.db.columns import Json, PlainText

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)


def of_query(*, primary_key: bool = False) -> Column[str]:
    """Foreign key of a row's query."""
    return Column(
        "query_id",
        PlainText,
        ForeignKey("queries.query_id"),
        primary_key=primary_key,
        nullable=False,
    )


def row_hash() -> Column[str]:
    """The row's hash in its query's chain; null before migration 0003."""
    return Column("hash", PlainText)


def text_digests() -> tuple[Column[object], Column[object]]:
    """Digests of the row's texts, and their salts; salts are null once the texts are erased."""
    return Column("digests", Json), Column("salts", Json)
