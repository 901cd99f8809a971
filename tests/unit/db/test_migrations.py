"""Migrations lead to the tables in `colm.db.schema.tables`, once, whoever runs them;

here on SQLite.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text

from colm.db.connection import connect, snapshot, transaction
from colm.db.schema import migrate
from colm.db.schema.image_table import images
from colm.db.schema.run_tables import metadata
from colm.models.errors import SettingsError

ROOT = Path(__file__).parents[3]
UPGRADE = "import sys; from colm.db.schema import migrate; migrate.upgrade(sys.argv[1])"
BROKEN = '''"""Break half-way."""

import sqlalchemy as sa
from alembic import op

revision = "9999"
down_revision = "{head}"


def upgrade() -> None:
    op.create_table("half_way", sa.Column("id", sa.Integer))
    op.execute("SELECT no_such_column FROM half_way")
'''

#: Tables whose rows change.
CHANGING = {"progress", "run_states"}

Catalog = dict[str, list[str]]


def table_facts(connection: Connection) -> Catalog:
    """Columns and constraints of every table, in words that do not depend on their order."""
    found = inspect(connection)
    facts = {}
    for table in found.get_table_names():
        columns = {
            f"{c['name']} {c['type']} null={c['nullable']} default={c['default']}"
            for c in found.get_columns(table)
        }
        constraints = [
            found.get_pk_constraint(table),
            *found.get_foreign_keys(table),
            *found.get_unique_constraints(table),
            *found.get_check_constraints(table),
        ]
        facts[table] = sorted(columns) + sorted(str(constraint) for constraint in constraints)
    return facts


def sqlite_catalog(connection: Connection) -> Catalog:
    rows = connection.execute(
        text("SELECT name, sql FROM sqlite_master WHERE type IN ('index', 'trigger')")
    )
    return {name: [re.sub(r"\s+", " ", sql or "").strip()] for name, sql in rows}


class MigrationContract:
    """Heirs give `url` of an empty database, `upgraded_url` of a migrated one, and `catalog`."""

    @contextmanager
    def reading(self, url: str) -> Iterator[Connection]:
        engine = connect(url)
        with snapshot(engine) as connection:
            yield connection
        engine.dispose()

    def catalog(self, connection: Connection) -> Catalog:
        """Indexes, triggers and whatever else has a definition in the database's own words."""
        raise NotImplementedError

    def test_an_upgraded_database_equals_the_tables(self, url: str, upgraded_url: str) -> None:
        engine = connect(url, create=True)
        with transaction(engine) as connection:
            metadata.create_all(connection)
        engine.dispose()
        with self.reading(url) as created, self.reading(upgraded_url) as upgraded:
            assert compare_metadata(MigrationContext.configure(upgraded), metadata) == []
            expected, facts = table_facts(created), table_facts(upgraded)
            expected_catalog, catalog = self.catalog(created), self.catalog(upgraded)
        facts.pop("alembic_version")
        for name in [name for name in catalog if "alembic_version" in name]:
            del catalog[name]
        assert facts == expected
        assert catalog == expected_catalog
        assert images.name in facts
        triggers = [name for name in catalog if "append_only" in name]
        assert len(triggers) >= len(metadata.tables) - len(CHANGING)

    def test_pending_names_what_upgrade_will_do(self, url: str) -> None:
        files = sorted((ROOT / "migrations" / "versions").glob("*.py"))
        assert [line[:4] for line in migrate.pending(url)] == [file.name[:4] for file in files]
        assert migrate.pending(url)[0] == "0001 Create the record."
        migrate.upgrade(url)
        assert migrate.pending(url) == []
        migrate.upgrade(url)
        assert migrate.pending(url) == []

    @pytest.mark.timeout(60)
    def test_processes_that_start_at_once_migrate_once(self, url: str) -> None:
        command = [sys.executable, "-W", "error", "-c", UPGRADE, url]
        upgrades = [
            subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) for _ in range(4)
        ]
        complaints = [upgrade.communicate()[1] for upgrade in upgrades]
        assert [upgrade.returncode for upgrade in upgrades] == [0, 0, 0, 0], complaints
        with self.reading(url) as connection:
            assert connection.scalar(text("SELECT count(*) FROM alembic_version")) == 1
        assert migrate.pending(url) == []

    def test_a_migration_that_fails_leaves_the_database_as_it_was(
        self, upgraded_url: str, tmp_path: Path
    ) -> None:
        scripts = copy_of_migrations(tmp_path)
        head = ScriptDirectory(str(scripts)).get_current_head()
        (scripts / "versions" / "9999_break.py").write_text(BROKEN.format(head=head))
        with pytest.raises(Exception, match="lacks tables"):
            migrate.upgrade(upgraded_url, scripts)
        assert migrate.pending(upgraded_url, scripts) == ["9999 Break half-way."]
        with self.reading(upgraded_url) as connection:
            assert not inspect(connection).has_table("half_way")

    def test_a_database_of_a_newer_version_is_left_alone(self, upgraded_url: str) -> None:
        engine = connect(upgraded_url)
        with transaction(engine) as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        engine.dispose()
        for use in (migrate.upgrade, migrate.pending):
            with pytest.raises(SettingsError, match="migrated to 9999 by a newer CoLM"):
                use(upgraded_url)

    def test_a_new_migration_for_an_upgraded_database_has_nothing_to_do(
        self, upgraded_url: str, tmp_path: Path
    ) -> None:
        scripts = copy_of_migrations(tmp_path)
        migrate.new(upgraded_url, "Add nothing", scripts)
        (line,) = migrate.pending(upgraded_url, scripts)
        number, _, subject = line.partition(" ")
        assert subject == "Add nothing."
        written = (scripts / "versions" / f"{number}_add_nothing.py").read_text()
        assert "op." not in written.partition("def upgrade")[2].replace("# ###", "")
        migrate.upgrade(upgraded_url, scripts)
        assert migrate.pending(upgraded_url, scripts) == []


def copy_of_migrations(folder: Path) -> Path:
    return shutil.copytree(
        migrate.MIGRATIONS, folder / "migrations", ignore=shutil.ignore_patterns("__pycache__")
    )


class TestMigrationsOnSqlite(MigrationContract):
    @pytest.fixture
    def url(self, empty_sqlite_url: str) -> str:
        return empty_sqlite_url

    @pytest.fixture
    def upgraded_url(self, sqlite_url: str) -> str:
        return sqlite_url

    def catalog(self, connection: Connection) -> Catalog:
        return sqlite_catalog(connection)


def test_migrations_are_numbered_in_one_line_without_gaps() -> None:
    assert not (migrate.MIGRATIONS / "__init__.py").exists()
    scripts = ScriptDirectory(str(migrate.MIGRATIONS))
    chain = [script.revision for script in reversed(list(scripts.walk_revisions()))]
    assert chain == [f"{number:04d}" for number in range(1, len(chain) + 1)]
    names = sorted(path.name for path in (migrate.MIGRATIONS / "versions").glob("*.py"))
    assert [name[:4] for name in names] == chain
    assert all(re.fullmatch(r"\d{4}_[a-z0-9_]+\.py", name) for name in names)
