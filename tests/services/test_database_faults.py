"""Databases that are not as they should be: another encoding, a pooler, a failover, a schema."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import psycopg2
import pytest
from sqlalchemy import Engine, make_url, text

from colm.db.connection import autocommit, connect, snapshot, transaction
from colm.db.connection_pooler import pool_mode
from colm.db.errors import translated
from colm.db.reads.answers import answer_of
from colm.db.record.store import SqlRecord
from colm.db.schema import migrate
from colm.models.backoff import Backoff
from colm.models.errors import SettingsError, TransientError
from colm.tasks.broker.retry import retry_transient
from colm.tasks.config.settings import Settings
from colm.workers.doctor import database
from colm.workers.doctor.doctor import START, attempt
from colm.workers.doctor.findings import Finding
from colm.workers.doctor.preflight import preflight
from tests.chaos.proxy import Proxy
from tests.provision import Lent, PostgresServer, ServiceMissing
from tests.provision.pgbouncer import PgBouncer, program
from tests.provision.postgres import plain
from tests.unit.db_examples import NOW

#: What a database of another encoding, or a driver that is told one, cannot hold.
UNICODE = "Warum ist der Himmel über Köln blau? 空"


def execute(url: str, *statements: str) -> None:
    with contextlib.closing(psycopg2.connect(plain(url))) as connection:
        connection.autocommit = True
        for statement in statements:
            with connection.cursor() as cursor:
                cursor.execute(statement)


@pytest.fixture
def made(postgres_server: Lent) -> Iterator[Callable[[str], str]]:
    """Makes a database of an encoding; its URL."""
    names = []

    def make(encoding: str) -> str:
        names.append(f"colm_{encoding.lower()}")
        execute(
            postgres_server.url,
            f"CREATE DATABASE {names[-1]} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0",
        )
        url = make_url(postgres_server.url).set(database=names[-1])
        return url.render_as_string(hide_password=False)

    yield make
    for name in names:
        execute(postgres_server.url, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_database_that_cannot_hold_every_text_is_refused_with_how_to_make_one_that_can(
    made: Callable[[str], str], encoding: str
) -> None:
    url = made(encoding)
    for look in (migrate.pending, migrate.upgrade):
        with pytest.raises(SettingsError, match=f"stores text as {encoding}.*--encoding UTF8"):
            look(url)
    with pytest.raises(SettingsError, match="createdb"):
        SqlRecord(connect(url)).due(NOW, 1)
    found = Settings(broker="amqp://127.0.0.1:1/colm", database=url)
    with pytest.raises(SettingsError, match="createdb"):
        preflight(found)
    (told,) = attempt("database", lambda: database.database(found))
    assert (told.grade, "createdb" in told.found) == ("problem", True)
    assert told.do != START


def test_the_drivers_own_encoding_changes_no_text(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    engine = connect(postgres_url)
    SqlRecord(engine).refuse("query-0001", UNICODE, "colm", UNICODE, NOW)
    assert answer_of(engine, "query-0001").question == UNICODE
    engine.dispose()


def test_a_schema_that_the_url_names_is_the_one_that_is_used(empty_postgres_url: str) -> None:
    execute(empty_postgres_url, "CREATE SCHEMA colm_site")
    url = empty_postgres_url + "?options=-csearch_path%3Dcolm_site&application_name=mine"
    migrate.upgrade(url)
    engine = connect(url)
    SqlRecord(engine).refuse("query-0001", "Why?", "colm", "so", NOW)
    with snapshot(engine) as connection:
        where = connection.execute(
            text(
                "SELECT DISTINCT schemaname FROM pg_tables WHERE tablename IN ('answers', 'seals')"
            )
        )
        assert list(where.scalars()) == ["colm_site"]
        shown = [
            connection.scalar(text(f"SHOW {name}"))
            for name in ("search_path", "lock_timeout", "application_name")
        ]
    assert shown == ["colm_site", "30s", "mine"]
    engine.dispose()


@pytest.mark.parametrize("how", ["the URL", "PGOPTIONS"])
def test_a_limit_that_the_user_sets_goes_before_ours(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    if how == "the URL":
        postgres_url += "?options=-clock_timeout%3D7s"
    else:
        monkeypatch.setenv("PGOPTIONS", "-c lock_timeout=7s")
    engine = connect(postgres_url)
    with transaction(engine) as connection:
        assert connection.scalar(text("SHOW lock_timeout")) == "7s"
        left = connection.scalar(text("SHOW idle_in_transaction_session_timeout"))
    assert left == "30s"
    engine.dispose()


@pytest.fixture(scope="module")
def pgbouncer_installed() -> None:
    try:
        program()
    except ServiceMissing as missing:  # nor is it a failure in CI: few systems have it
        pytest.skip(f"NOT TESTED: {missing}")


@pytest.mark.usefixtures("pgbouncer_installed")
@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_a_pgbouncer_as_it_is_installed_needs_no_setting_and_keeps_our_limits(
    postgres_url: str, mode: str
) -> None:
    with PgBouncer(postgres_url, mode) as bouncer:
        engine = connect(bouncer.url)
        SqlRecord(engine).refuse("query-0001", UNICODE, "colm", "so", NOW)
        assert answer_of(engine, "query-0001").question == UNICODE
        for begin in (transaction, snapshot):
            with begin(engine) as connection:
                limits = [
                    connection.scalar(text(f"SHOW {name}"))
                    for name in ("lock_timeout", "idle_in_transaction_session_timeout")
                ]
            assert limits == ["30s", "30s"]
        assert pool_mode(engine) == mode
        migrate.upgrade(bouncer.url)
        engine.dispose()
        # Nothing of ours is left behind for whoever is lent that connection next.
        with (
            contextlib.closing(psycopg2.connect(plain(bouncer.url))) as other,
            other.cursor() as cursor,
        ):
            cursor.execute("SHOW lock_timeout")
            assert cursor.fetchone() == ("0",)
    engine = connect(postgres_url)
    assert pool_mode(engine) == "none"
    engine.dispose()


@pytest.mark.usefixtures("pgbouncer_installed")
def test_a_parameter_that_a_pgbouncer_refuses_is_told_and_not_waited_for(postgres_url: str) -> None:
    with PgBouncer(postgres_url, "transaction") as bouncer:
        engine = connect(bouncer.url + "?options=-csearch_path%3Dx")
        with pytest.raises(SettingsError, match=r"ALTER ROLE.*unsupported startup parameter"):
            SqlRecord(engine).due(NOW, 1)


def about_database(url: str) -> dict[str, Finding]:
    """What doctor finds of the database that is not well."""
    found = Settings(broker="amqp://127.0.0.1:1/colm", database=url)
    told = attempt("database", lambda: database.database(found))
    return {finding.about: finding for finding in told if finding.grade != "ok"}


@pytest.mark.usefixtures("pgbouncer_installed")
def test_doctor_says_what_a_pgbouncer_takes_away(postgres_url: str) -> None:
    for mode, grade in (("session", None), ("transaction", "warning"), ("statement", "problem")):
        with PgBouncer(postgres_url, mode) as bouncer:
            told = about_database(bouncer.url)
        assert {about: f.grade for about, f in told.items()} == (
            {"connection pooler": grade} if grade else {}
        )


def test_doctor_is_not_content_with_a_database_in_which_nothing_can_be_recorded(
    postgres_url: str,
) -> None:
    assert about_database(postgres_url) == {}
    read_only = about_database(postgres_url + "?options=-cdefault_transaction_read_only%3Don")
    assert read_only["database is writable"].grade == "problem"
    execute(
        postgres_url,
        "DROP ROLE IF EXISTS colm_reader",
        "CREATE ROLE colm_reader LOGIN PASSWORD 'pw'",
        "GRANT SELECT ON ALL TABLES IN SCHEMA public TO colm_reader",
    )
    reader = make_url(postgres_url).set(username="colm_reader", password="pw")
    told = about_database(reader.render_as_string(hide_password=False))
    assert "INSERT" in told["database is writable"].found
    execute(postgres_url, "DROP OWNED BY colm_reader", "DROP ROLE colm_reader")


@pytest.fixture
def engines() -> Iterator[list[Engine]]:
    found: list[Engine] = []
    yield found
    for engine in found:
        engine.dispose()


@pytest.mark.usefixtures("postgres_installed")
def test_after_a_failover_nobody_stays_with_the_old_primary_that_is_up_and_read_only(
    engines: list[Engine],
) -> None:
    with PostgresServer() as old, PostgresServer() as new:
        execute(new.url, f"ALTER ROLE postgres PASSWORD '{make_url(old.url).password}'")
        with Proxy(old.port) as address:
            url = make_url(old.url).set(port=address.port).render_as_string(hide_password=False)
            moved = make_url(url).set(port=new.port).render_as_string(hide_password=False)
            for each in (old.url, moved):
                migrate.upgrade(each)
            writer, reader = connect(url), connect(url)
            engines += [writer, reader]
            record = SqlRecord(writer)
            record.refuse("query-0001", "Why?", "colm", "before", NOW)
            assert answer_of(reader, "query-0001").status == "refused"
            with autocommit(writer), autocommit(writer):  # two connections lie in the pool
                pass

            execute(
                old.url,
                "ALTER SYSTEM SET default_transaction_read_only = on",
                "SELECT pg_reload_conf()",
            )
            address.target = new.port

            pauses: list[float] = []
            retry_transient(
                lambda: record.refuse("query-0002", "Why?", "colm", "after", NOW),
                backoff=Backoff(first=0.1, longest=5.0, sleep=pauses.append),
            )
            assert len(pauses) <= 2
            assert answer_of(reader, "query-0002").status == "refused"
            assert address.connections <= 3


@pytest.mark.parametrize("code", ["25006", "57P01", "57P03", "53300", "08006"])
def test_an_error_that_a_connection_does_not_outlive_throws_all_of_the_pool_away(
    postgres_url: str, engines: list[Engine], code: str
) -> None:
    engine = connect(postgres_url)
    engines.append(engine)
    with autocommit(engine) as one, autocommit(engine) as two:
        before = {one.scalar(text("SELECT pg_backend_pid()"))}
        before |= {two.scalar(text("SELECT pg_backend_pid()"))}
    raising = text(f"DO $$ BEGIN RAISE EXCEPTION 'so' USING ERRCODE = '{code}'; END $$")
    with pytest.raises(TransientError, match="so"), transaction(engine) as connection:
        connection.execute(raising)
    with autocommit(engine) as one, autocommit(engine) as two:
        for connection in (one, two):
            assert connection.scalar(text("SELECT pg_backend_pid()")) not in before


@pytest.mark.parametrize("code", ["40001", "40P01"])
def test_a_conflict_is_worth_another_try_on_the_same_connection(
    postgres_url: str, engines: list[Engine], code: str
) -> None:
    engine = connect(postgres_url)
    engines.append(engine)
    with autocommit(engine) as connection:
        before = connection.scalar(text("SELECT pg_backend_pid()"))
    raising = text(f"DO $$ BEGIN RAISE EXCEPTION 'so' USING ERRCODE = '{code}'; END $$")
    with pytest.raises(TransientError), transaction(engine) as connection:
        connection.execute(raising)
    with autocommit(engine) as connection:
        assert connection.scalar(text("SELECT pg_backend_pid()")) == before


def test_a_database_that_was_always_read_only_is_read_without_a_new_connection_each_time(
    postgres_url: str, engines: list[Engine]
) -> None:
    engine = connect(postgres_url + "?options=-cdefault_transaction_read_only%3Don")
    engines.append(engine)
    pids = set()
    for _ in range(3):
        with autocommit(engine) as connection:
            pids.add(connection.scalar(text("SELECT pg_backend_pid()")))
    assert len(pids) == 1
    with pytest.raises(TransientError, match="read-only"), translated(engine.url):
        SqlRecord(engine).refuse("query-0001", "Why?", "colm", "so", NOW)
