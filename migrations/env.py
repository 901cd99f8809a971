"""Alembic environment: runs the migrations on the connection of `colm.db.schema.migrate`.

That module owns the transaction and the lock.
"""

from alembic import context

import colm.db.schema.image_table  # noqa: F401 - its table is one of the metadata
from colm.db.schema.run_tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite alters most of a table only by copying it.
    render_as_batch=True,
)
context.run_migrations()
