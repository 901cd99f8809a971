"""Evaluation runs, their units, and steps that several queries share."""

from __future__ import annotations

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    pass
