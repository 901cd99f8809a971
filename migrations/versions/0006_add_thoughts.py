"""Thoughts, apart from the answers that follow them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    # A text, which an erasure replaces: the triggers name the columns that it may not touch.
    op.add_column("outcomes", sa.Column("thought", sa.Text))
