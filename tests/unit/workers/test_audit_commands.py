"""`colm audit`, `purge` and `erase` as a user types them."""

from __future__ import annotations

import json
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from typer.testing import CliRunner

from colm.db.audit.checkpoints import count_uncovered
from colm.db.connection import connect
from colm.db.reads.answers import answer_of
from colm.db.reads.history import query_history
from colm.db.record.store import SqlRecord
from colm.models.errors import CallerError, SettingsError
from colm.workers.audit import checkpoints as audit
from colm.workers.audit import keys
from colm.workers.audit.retention import age
from colm.workers.cli import main
from tests.security.tampering_sql import behind_our_back
from tests.unit.conftest import SetEnvironment
from tests.unit.db_examples import ANY_TEXT, a_query, record_whole_life

QUERY = "query-0001"


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main.app, arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, " ".join(result.output.split())


@pytest.fixture(autouse=True)
def _site(environment: SetEnvironment, sqlite_url: str) -> None:
    environment(COLM_DATABASE=sqlite_url, COLM_BROKER="amqp://localhost:1/none")


@pytest.fixture
def engine(sqlite_url: str) -> Engine:
    engine = connect(sqlite_url)
    record_whole_life(SqlRecord(engine))
    return engine


def key_file(tmp_path: Path) -> Path:
    return tmp_path / "home" / "audit.key"


def test_a_key_is_made_once_and_is_its_owners_alone(tmp_path: Path) -> None:
    code, out = run("audit", "key")
    public = out.split()[-1]
    assert (code, run("audit", "key")[1]) == (0, public)
    assert stat.S_IMODE(key_file(tmp_path).stat().st_mode) == 0o600
    assert keys.parse_public(public) == public
    key_file(tmp_path).chmod(0o640)
    with pytest.raises(SettingsError, match="other users may read the key"):
        run("audit", "checkpoint")


def test_without_a_key_nothing_can_be_signed_or_exported(engine: Engine, tmp_path: Path) -> None:
    for command in (("checkpoint",), ("export", QUERY, "-o", str(tmp_path / "export"))):
        with pytest.raises(SettingsError, match="make one with 'colm audit key'"):
            run("audit", *command)
    assert count_uncovered(engine) == 1


def test_checkpoint_verify_and_find_what_was_changed(engine: Engine) -> None:
    run("audit", "key")
    assert run("audit", "checkpoint")[1].startswith("checkpoint 1 covers 1 queries")
    assert "no checkpoint recorded" in run("audit", "checkpoint")[1]
    assert count_uncovered(engine) == 0
    for way in ("--all", QUERY):
        code, out = run("audit", "verify", way)
        assert (code, "as recorded: 1 queries, 15 rows" in out) == (0, True)
    with behind_our_back(engine) as connection:
        connection.execute(text("UPDATE decisions SET reason = 'another' WHERE seq = 2"))
    code, out = run("audit", "verify", "query-0")
    assert code == 1
    assert "query query-0001: decisions, seq 2: reason was changed 1 findings" in out
    code, out = run("audit", "verify", "--all", "--json")
    (finding,) = json.loads(out)["findings"]
    assert (code, finding["table"], finding["row"]) == (1, "decisions", "seq 2")


def test_verify_wants_one_thing_to_look_at() -> None:
    assert run("audit", "verify")[0] == 2
    assert run("audit", "verify", QUERY, "--all")[0] == 2


def test_a_checkpoint_that_was_made_here_cannot_be_taken_away(engine: Engine) -> None:
    run("audit", "key")
    run("audit", "checkpoint")
    with behind_our_back(engine) as connection:
        for table in ("sealed", "seals"):
            connection.execute(text(f"DELETE FROM {table}"))
    code, out = run("audit", "verify", "--all")
    assert (code, "seals, checkpoint 1: is missing; it was signed here" in out) == (1, True)


@pytest.mark.usefixtures("engine")
def test_an_export_verifies_where_there_is_no_database(
    tmp_path: Path, environment: SetEnvironment
) -> None:
    public = run("audit", "key")[1].split()[-1]
    run("audit", "checkpoint")
    document = tmp_path / "export.json"
    assert run("audit", "export", QUERY, "-o", str(document))[0] == 0
    environment(COLM_DATABASE="sqlite:////nowhere/at/all", COLM_HOME=str(tmp_path / "elsewhere"))
    code, out = run("audit", "verify", "--export", str(document), "--key", public)
    assert (code, "as recorded: 1 queries, 15 rows, 1 checkpoints" in out) == (0, True)
    other = keys.create(tmp_path / "other").key
    code, out = run("audit", "verify", "--export", str(document), "--key", other)
    assert (code, "which is not the site's key" in out) == (1, True)
    document.write_text(document.read_text().replace("worker-1", "worker-2"))
    assert run("audit", "verify", "--export", str(document))[0] == 1


def test_an_erased_query_is_shown_as_erased_and_still_verifies(engine: Engine) -> None:
    run("audit", "key")
    run("audit", "checkpoint")
    told = ("erase", QUERY, "--by", "its caller", "--reason", "asked on 1 March")
    assert "erased the texts of 1 queries, in 12 rows" in run(*told)[1]
    assert "erased the texts of 0 queries" in run(*told)[1]
    code, out = run("audit", "verify", "--all")
    assert (code, "uncovered: 1" in out) == (0, True)
    code, out = run("show", QUERY, "--prompts")
    assert code == 0
    assert "its caller" in out
    assert "asked on 1 March" in out
    assert "[erased]" in out
    found = answer_of(engine, QUERY)
    assert found.question == "[erased]"
    assert found.answer is not None
    assert (found.answer.answer, found.answer.status) == ("[erased]", "answered")
    history = query_history(engine, QUERY)
    assert history is not None
    assert {letter.body for letter in history.dead_letters} == {"[erased]"}


def test_no_erased_text_is_left_in_the_file(engine: Engine, sqlite_url: str) -> None:
    secret = "the garden has blue gates"
    with SqlRecord(engine).begin(a_query("query-0002", question=secret)):
        pass
    engine.dispose()
    path = Path(sqlite_url.removeprefix("sqlite:///"))
    assert secret.encode() in path.read_bytes()
    with connect(sqlite_url).begin() as connection:
        connection.execute(text("UPDATE progress SET open = 0 WHERE query_id = 'query-0002'"))
    assert "1 queries, in 1 rows" in run("erase", "query-0002", "--by", "me", "--reason", "x")[1]
    for part in path.parent.glob(path.name + "*"):
        assert secret.encode() not in part.read_bytes(), part


def test_an_open_query_is_not_erased(engine: Engine) -> None:
    with SqlRecord(engine).begin(a_query("query-0002")):
        pass
    with pytest.raises(CallerError, match="is open"):
        run("erase", "query-0002", "--by", "me", "--reason", "asked")
    assert run("erase", "query-0002")[0] == 2
    assert answer_of(engine, "query-0002").question == f"Why? {ANY_TEXT}"


def test_a_run_is_erased_query_by_query(engine: Engine) -> None:
    record = SqlRecord(engine)
    record.refuse("query-0002", "why?", "colm", "no such option", datetime.now(UTC))
    with behind_our_back(engine) as connection:
        connection.execute(text("UPDATE queries SET run = 'night' WHERE query_id = 'query-0001'"))
    out = run("erase", "--run", "night", "--by", "me", "--reason", "asked")[1]
    assert "erased the texts of 1 queries" in out
    assert answer_of(engine, "query-0002").question == "why?"


def test_a_purge_leaves_a_tombstone_and_what_is_younger(engine: Engine) -> None:
    run("audit", "key")
    record = SqlRecord(engine)
    for number in range(2, 6):
        record_whole_life(record, f"query-000{number}")
    young = a_query("query-0006", asked_at=datetime.now(UTC) + timedelta(days=1))
    with record.begin(young):
        pass
    assert "5 queries ended before" in run("purge", "--older-than", "0m", "--dry-run")[1]
    assert answer_of(engine, QUERY).status == "answered"
    assert "removed 5 queries" in run("purge", "--older-than", "0m", "--batch", "2")[1]
    assert answer_of(engine, QUERY).status == "unknown"
    assert answer_of(engine, "query-0006").status == "open"
    code, out = run("audit", "verify", "--all")
    assert (code, "1 queries, 1 rows, 5 tombstones, 1 checkpoints" in out) == (0, True)
    assert run("audit", "verify", QUERY)[0] == 0
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM dispatches")) == 0
        assert connection.scalar(text("SELECT count(*) FROM dead_letters")) == 0


def test_a_record_with_checkpoints_is_not_purged_or_erased_without_its_key(
    engine: Engine, tmp_path: Path
) -> None:
    run("audit", "key")
    run("audit", "checkpoint")
    key_file(tmp_path).rename(tmp_path / "taken")
    with pytest.raises(CallerError, match="must be signed with the key that signed them"):
        run("purge", "--older-than", "0m")
    with pytest.raises(CallerError, match="must be signed with the key that signed them"):
        run("erase", QUERY, "--by", "me", "--reason", "asked")
    assert answer_of(engine, QUERY).question == f"Why? {ANY_TEXT}"


def test_a_coordinator_signs_checkpoints_by_itself_only_with_a_key(
    engine: Engine, tmp_path: Path
) -> None:
    from colm.tasks.config.settings import settings

    assert audit.start_checkpoints(settings(), engine) is None
    key = keys.create(key_file(tmp_path))
    thread = audit.CheckpointThread(engine, key, minutes=0.0005)
    until = datetime.now(UTC) + timedelta(seconds=20)
    while count_uncovered(engine) and datetime.now(UTC) < until:
        pass
    thread.close()
    assert count_uncovered(engine) == 0
    assert keys.latest(key.path) is not None


@pytest.mark.parametrize("text", ["90", "d", "-1d", "1w", "", "1.5h"])
def test_an_age_has_a_number_and_a_unit(text: str) -> None:
    with pytest.raises(CallerError, match="is not an age"):
        age(text)
    assert (age("90d"), age("2h"), age("5m")) == (
        timedelta(days=90), timedelta(hours=2), timedelta(minutes=5),
    )  # fmt: skip
