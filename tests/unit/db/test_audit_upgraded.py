"""A record from before migration 0003: its rows have no hashes, and nothing pretends otherwise."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from colm.db.audit.checkpoints import write_checkpoint
from colm.db.audit.erase import erase
from colm.db.audit.verify_all import AuditResult, check_everything
from colm.db.connection import connect, transaction
from colm.db.integrity.signatures import Trust
from colm.db.reads.history import query_history
from colm.db.record.store import SqlRecord
from colm.db.schema import migrate
from colm.workers.audit import keys
from tests.unit.db_examples import LATER, NOW, a_query, a_step, completed

BEFORE = ("0001", "0002")
QUERY = "query-0001"


class UpgradedContract:
    """Heirs give the `url` of an empty database."""

    @pytest.fixture
    def engine(self, url: str, tmp_path: Path) -> Engine:
        """An ended query of three rows, recorded by the version before."""
        old = shutil.copytree(migrate.MIGRATIONS, tmp_path / "migrations")
        for script in (old / "versions").glob("*.py"):
            if not script.name.startswith(BEFORE):
                script.unlink()
        migrate.upgrade(url, old)
        engine = connect(url)
        with transaction(engine) as connection:
            for statement, values in _rows():
                connection.execute(text(statement), values)
        migrate.upgrade(url)
        return engine

    def test_old_rows_are_unchained_and_new_ones_begin_a_chain(self, engine: Engine) -> None:
        trust = Trust(check=keys.check)
        found = sum(check_everything(engine, trust), AuditResult())
        assert (found.findings, found.queries, found.unchained) == ((), 1, 1)
        with SqlRecord(engine).open(QUERY) as life:
            assert life.add_outcome(a_step(), completed()) == "late"
        found = sum(check_everything(engine, trust), AuditResult())
        assert (found.findings, found.rows) == ((), 4)
        with transaction(engine) as connection:
            heads = "SELECT o.hash, p.head FROM outcomes o, progress p"
            hash, head = connection.execute(text(heads)).one()
        assert hash == head != None  # noqa: E711  # both are there

    def test_an_old_query_can_be_covered_and_erased(self, engine: Engine, tmp_path: Path) -> None:
        key = keys.create(tmp_path / "audit.key")
        checkpoint = write_checkpoint(engine, key, LATER)
        assert checkpoint is not None
        assert checkpoint.queries == 1
        assert erase(engine, QUERY, asked_by="me", reason="asked", now=LATER, signer=key) == 3
        trust = Trust(check=keys.check, keys=frozenset({key.key}))
        assert sum(check_everything(engine, trust), AuditResult()).findings == ()
        life = query_history(engine, QUERY)
        assert life is not None
        assert "[erased]" in str(life.entries)


def _rows() -> list[tuple[str, dict[str, object]]]:
    query, step = a_query(), a_step()
    plan = query.model_dump(mode="json", include={"options", "clients", "server", "deadlines"})
    now = NOW.strftime("%Y-%m-%d %H:%M:%S.%f") + "+00:00"
    if_sqlite = {"at": now.removesuffix("+00:00")}
    asked = {
        "query": QUERY, "step": step.step_id, "question": "Why?", **if_sqlite,
        "messages": json.dumps([turn.model_dump() for turn in step.messages]),
        "sampling": step.sampling.model_dump_json(),
        **{name: json.dumps(value) for name, value in plan.items()},
    }  # fmt: skip
    statements = (
        "INSERT INTO queries (query_id, seq, question, strategy, asked_at, deadline_at, options,"
        " clients, server, deadlines, seed) VALUES (:query, 1, :question, 'colm', :at, :at,"
        " :options, :clients, :server, :deadlines, 5)",
        "INSERT INTO progress (query_id, open, wake_at, next_seq) VALUES (:query, false, :at, 4)",
        "INSERT INTO steps (step_id, query_id, seq, round, act, participant, index, role, messages,"
        " prompt_version, sampling, asked_at, deadline_at) VALUES (:step, :query, 2, 1, 'draft',"
        " 'alice', 0, 'client', :messages, 'draft-1', :sampling, :at, :at)".replace(
            "index,", '"index",'
        ),
        "INSERT INTO answers (query_id, seq, status, reason, asked_at, ended_at) VALUES (:query, 3,"
        " 'failed', 'nobody came', :at, :at)",
    )
    return [
        (statement, {name: value for name, value in asked.items() if f":{name}" in statement})
        for statement in statements
    ]


class TestUpgradedOnSqlite(UpgradedContract):
    @pytest.fixture
    def url(self, empty_sqlite_url: str) -> str:
        return empty_sqlite_url
