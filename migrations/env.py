"""What Alembic runs: the migrations, on the connection that `db.migrate` hands over.

The transaction, and the lock that keeps other processes out, belong to `db.migrate` too.
"""

from alembic import context

from db.run_tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite alters most of a table only by copying it.
    render_as_batch=True,
)
context.run_migrations()
