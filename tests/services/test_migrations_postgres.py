"""Migrations on a real PostgreSQL."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection, text

from tests.unit.db.test_migrations import Catalog, MigrationContract

pytestmark = pytest.mark.postgres

_DEFINITIONS = """
SELECT 'index ' || indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
UNION ALL
SELECT 'constraint ' || conname, pg_get_constraintdef(oid) FROM pg_constraint
WHERE connamespace = 'public'::regnamespace
UNION ALL
SELECT 'trigger ' || tgname, pg_get_triggerdef(oid) || ' ' || tgenabled::text FROM pg_trigger
WHERE NOT tgisinternal
UNION ALL
SELECT 'function ' || proname, pg_get_functiondef(oid) FROM pg_proc
WHERE pronamespace = 'public'::regnamespace
"""


class TestMigrationsOnPostgres(MigrationContract):
    @pytest.fixture
    def url(self, empty_postgres_url: str) -> str:
        return empty_postgres_url

    @pytest.fixture
    def upgraded_url(self, postgres_url: str) -> str:
        return postgres_url

    def catalog(self, connection: Connection) -> Catalog:
        return {name: [sql] for name, sql in connection.execute(text(_DEFINITIONS))}
