"""Runs and their units on a real PostgreSQL."""

from __future__ import annotations

import pytest

from tests.unit.db.test_runs import RunContract

pytestmark = pytest.mark.postgres


class TestRunsOnPostgres(RunContract):
    @pytest.fixture
    def url(self, postgres_url: str) -> str:
        return postgres_url
