"""The audit's promises on a real PostgreSQL."""

from __future__ import annotations

import pytest

from tests.unit.test_audit import AuditContract
from tests.unit.test_db_chain import ChainContract

pytestmark = pytest.mark.postgres


class OnPostgres:
    @pytest.fixture
    def url(self, postgres_url: str) -> str:
        return postgres_url


class TestChainOnPostgres(OnPostgres, ChainContract):
    pass


class TestAuditOnPostgres(OnPostgres, AuditContract):
    pass
