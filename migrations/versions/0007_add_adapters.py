"""The adapter that a completion was generated with."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

KEPT = (
    "query_id seq step_id status at worker error_kind finish_reason prompt_tokens completion_tokens"
    " cached_tokens queued_s first_token_s total_s batch_size engine model dtype device seed"
    " mean_logprob adapter digests hash"
)
REFUSAL = "outcomes is append-only: what was recorded of a query is never changed or removed"
POSTGRESQL_TRIGGER = """
CREATE TRIGGER outcomes_append_only BEFORE {events} ON outcomes
FOR EACH STATEMENT EXECUTE FUNCTION colm_refuse_change()
"""
SQLITE_TRIGGER = """
CREATE TRIGGER outcomes_append_only_KEPT BEFORE {events} ON outcomes
BEGIN SELECT RAISE(ABORT, '{refusal} (UPDATE)'); END
"""


def upgrade() -> None:
    op.add_column("outcomes", sa.Column("adapter", sa.Text))
    # No text: not even an erasure may change it.
    columns = "UPDATE OF " + ", ".join(f'"{column}"' for column in KEPT.split())
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP TRIGGER outcomes_append_only ON outcomes")
        op.execute(POSTGRESQL_TRIGGER.format(events=f"{columns} OR TRUNCATE"))
    else:
        op.execute("DROP TRIGGER outcomes_append_only_KEPT")
        op.execute(SQLITE_TRIGGER.format(events=columns, refusal=REFUSAL))
