"""What Alembic runs: the migrations, on the connection that `db.migrate` hands over.

The transaction, and the lock that keeps other processes out, belong to `db.migrate` too.
"""

from alembic import context

import db.image_tables  # noqa: F401 - its table is one of the metadata
from db.run_tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite alters most of a table only by copying it.
    render_as_batch=True,
)
context.run_migrations()
