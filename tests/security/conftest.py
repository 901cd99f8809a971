"""Fixtures of the unit tests that security tests share."""

from __future__ import annotations

from tests.unit.conftest import environment

__all__ = ["environment"]
