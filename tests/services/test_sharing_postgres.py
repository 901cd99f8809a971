"""Shared steps on a real PostgreSQL."""

from __future__ import annotations

import pytest

from tests.unit.workers.test_deduplication import SharingContract

pytestmark = pytest.mark.postgres


class TestSharingOnPostgres(SharingContract):
    @pytest.fixture
    def url(self, postgres_url: str) -> str:
        return postgres_url
