"""A run is ordered once, worked on by one, and its units are committed once; here on SQLite."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError

from colm.db.connection import connect, transaction
from colm.db.reads.answers import completed_of, open_queries, recorded_of
from colm.db.reads.completion_listener import wait_for_any
from colm.db.record.store import SqlRecord
from colm.db.runs import store, units
from colm.db.runs.units import UnitKey
from colm.db.schema.run_tables import RUN_TABLES, shared_steps
from colm.models.errors import CallerError, InvalidAsk
from tests.unit.db_examples import a_query, finishing
from tests.unit.run_examples import CONFIG, LATER, NOW, a_unit

MINUTE = timedelta(minutes=1)


class RunContract:
    """Heirs give the `url` of an empty, migrated database."""

    @pytest.fixture
    def engine(self, url: str) -> Iterator[Engine]:
        engine = connect(url)
        store.order(engine, "night", CONFIG, NOW)
        yield engine
        engine.dispose()

    def test_a_run_is_ordered_once(self, engine: Engine) -> None:
        assert not store.order(engine, "night", CONFIG, LATER)
        with pytest.raises(InvalidAsk, match="another configuration"):
            store.order(engine, "night", {**CONFIG, "seeds": [1]}, LATER)
        found = store.find(engine, "night")
        assert (found.config, found.ordered_at, found.state) == (CONFIG, NOW, "open")
        assert [event.what for event in store.events(engine, "night")] == ["ordered"]

    def test_a_run_that_nobody_ordered_is_named(self, engine: Engine) -> None:
        with pytest.raises(CallerError, match="no run 'day'"):
            store.find(engine, "day")

    def test_the_latest_runs_come_first(self, engine: Engine) -> None:
        store.order(engine, "later", CONFIG, LATER)
        assert [run.run for run in store.list_runs(engine)] == ["later", "night"]
        store.change(engine, "later", "paused", LATER)
        assert [run.run for run in store.list_runs(engine, "open")] == ["night"]

    def test_one_evaluator_has_a_run_until_its_time_is_over(self, engine: Engine) -> None:
        assert store.acquire(engine, "night", "one", now=NOW, until=NOW + MINUTE)
        assert not store.acquire(engine, "night", "two", now=LATER, until=LATER + MINUTE)
        assert store.renew(engine, "night", "one", LATER + MINUTE) == "open"
        after = NOW + MINUTE + timedelta(seconds=1)
        assert not store.acquire(engine, "night", "two", now=after, until=after + MINUTE)
        after = LATER + MINUTE + timedelta(seconds=1)
        assert store.acquire(engine, "night", "two", now=after, until=after + MINUTE)
        assert store.renew(engine, "night", "one", after + MINUTE) is None
        taken = [e.by for e in store.events(engine, "night") if e.what == "taken"]
        assert taken == ["one", "two"]

    def test_a_run_of_an_evaluator_that_is_gone_is_taken_at_once(self, engine: Engine) -> None:
        store.acquire(engine, "night", "one", now=NOW, until=NOW + MINUTE)
        assert store.acquire(
            engine, "night", "two", now=NOW, until=NOW + MINUTE, alive=lambda owner: owner != "one"
        )

    def test_of_evaluators_that_come_at_once_one_takes_the_run(self, engine: Engine) -> None:
        won: list[str] = []

        def compete(name: str) -> None:
            if store.acquire(engine, "night", name, now=NOW, until=NOW + MINUTE):
                won.append(name)

        threads = [threading.Thread(target=compete, args=[f"e{n}"]) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1

    def test_a_paused_run_is_not_taken_and_tells_who_has_it(self, engine: Engine) -> None:
        store.acquire(engine, "night", "one", now=NOW, until=NOW + MINUTE)
        assert store.change(engine, "night", "paused", LATER) == "paused"
        assert store.change(engine, "night", "paused", LATER) == "paused"
        assert store.renew(engine, "night", "one", LATER + MINUTE) == "paused"
        store.release(engine, "night", "one", now=LATER, note="paused")
        assert not store.acquire(engine, "night", "two", now=LATER, until=LATER + MINUTE)
        assert store.change(engine, "night", "resumed", LATER) == "open"
        assert store.acquire(engine, "night", "two", now=LATER, until=LATER + MINUTE)

    def test_a_run_that_is_over_stays_over(self, engine: Engine) -> None:
        store.acquire(engine, "night", "one", now=NOW, until=NOW + MINUTE)
        store.release(engine, "night", "one", now=LATER, state="done")
        assert store.find(engine, "night").state == "done"
        assert store.find(engine, "night").owner is None
        with pytest.raises(CallerError, match="run night is done: it cannot be cancelled"):
            store.change(engine, "night", "cancelled", LATER)

    def test_a_run_cancelled_meanwhile_does_not_become_done(self, engine: Engine) -> None:
        store.acquire(engine, "night", "one", now=NOW, until=NOW + MINUTE)
        store.change(engine, "night", "cancelled", LATER)
        store.release(engine, "night", "one", now=LATER, state="done")
        assert store.find(engine, "night").state == "cancelled"

    def test_a_run_keeps_to_the_data_it_began_with(self, engine: Engine) -> None:
        store.acquire(engine, "night", "one", now=NOW, until=NOW + MINUTE)
        assert store.set_plan(
            engine, "night", "one", planned=8, data="abc", at=LATER, summary="one row is bad"
        )
        assert store.set_plan(
            engine, "night", "one", planned=8, data="abc", at=LATER, summary="one row is bad"
        )
        assert not store.set_plan(engine, "night", "one", planned=8, data="xyz", at=LATER)
        found = store.find(engine, "night")
        assert (found.units, found.data) == (8, "abc")
        told = [event.what for event in store.events(engine, "night")]
        assert told == ["ordered", "taken", "one row is bad"]

    def test_a_unit_is_committed_once(self, engine: Engine) -> None:
        assert units.add_unit(engine, "night", a_unit())
        assert not units.add_unit(engine, "night", a_unit(status="wrong"))
        assert units.add_unit(engine, "night", a_unit(seed=2**62))
        failed = a_unit("vote", status="failed", extracted=None, reason="no answer")
        assert units.add_unit(engine, "night", failed)
        assert units.units_of(engine, "night") == [a_unit(), failed, a_unit(seed=2**62)]
        assert units.completed_units(engine, "night") == {
            UnitKey("alone", "1", 0), UnitKey("vote", "1", 0), UnitKey("alone", "1", 2**62),
        }  # fmt: skip
        assert units.completed_units(engine, "other") == set()

    def test_the_end_of_one_query_of_many_is_heard_of(self, engine: Engine) -> None:
        record = SqlRecord(engine)
        for name in ("query-0001", "query-0002"):
            with record.begin(a_query(name)):
                pass

        def end() -> None:
            with record.open("query-0002") as life:
                life.apply(finishing("query-0002"), LATER)

        ids = {"query-0001", "query-0002", "query-0003"}
        assert recorded_of(engine, ids) == {"query-0001", "query-0002"}
        assert wait_for_any(engine, ids, 0.1) == set()
        threading.Timer(0.3, end).start()
        assert wait_for_any(engine, ids, 20) == {"query-0002"}
        assert completed_of(engine, ids) == {"query-0002"}

    def test_the_open_queries_of_a_run_are_its_own(self, engine: Engine) -> None:
        record = SqlRecord(engine)
        for number, run in enumerate(["night", "night", "day", None], start=1):
            with record.begin(a_query(f"query-000{number}", run=run)):
                pass
        with record.open("query-0002") as life:
            life.apply(finishing("query-0002"), LATER)
        assert open_queries(engine, "night") == ["query-0001"]

    @pytest.mark.parametrize("table", [t.name for t in RUN_TABLES if t.name != "run_states"])
    def test_what_is_told_of_a_run_is_never_changed(self, engine: Engine, table: str) -> None:
        units.add_unit(engine, "night", a_unit())
        with transaction(engine) as connection:
            row = {"step_id": "a", "run": "night", "key": "k", "owner": "a"}
            connection.execute(shared_steps.insert(), row)
        for statement in (f"UPDATE {table} SET run = 'x'", f"DELETE FROM {table}"):
            with (
                pytest.raises(IntegrityError, match=f"{table} is append-only"),
                transaction(engine) as connection,
            ):
                connection.execute(text(statement))


class TestRunsOnSqlite(RunContract):
    @pytest.fixture
    def url(self, sqlite_url: str) -> str:
        return sqlite_url
