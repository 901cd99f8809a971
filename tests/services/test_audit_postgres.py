"""The audit's promises on a real PostgreSQL."""

from __future__ import annotations

import pytest

from tests.unit.benchmarks.test_record_size import FilledContract
from tests.unit.db.test_audit import AuditContract
from tests.unit.db.test_audit_upgraded import UpgradedContract
from tests.unit.db.test_hash_chain import ChainContract
from tests.unit.db.test_permits import PermitsContract

pytestmark = pytest.mark.postgres


class OnPostgres:
    @pytest.fixture
    def url(self, postgres_url: str) -> str:
        return postgres_url


class TestChainOnPostgres(OnPostgres, ChainContract):
    pass


class TestAuditOnPostgres(OnPostgres, AuditContract):
    pass


class TestPermitsOnPostgres(OnPostgres, PermitsContract):
    pass


class TestUpgradedOnPostgres(UpgradedContract):
    @pytest.fixture
    def url(self, empty_postgres_url: str) -> str:
        return empty_postgres_url


class TestFilledOnPostgres(OnPostgres, FilledContract):
    pass
