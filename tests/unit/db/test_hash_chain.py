"""What the hashes of the audit are taken over; it comes back from a database as it went in."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Column, Double, Engine, Integer, MetaData, Table, insert, select

from colm.db.columns import Json, PlainText, UtcDateTime
from colm.db.connection import snapshot, transaction
from colm.db.integrity.canonical_json import canonical, canonical_value
from colm.db.integrity.hash_chain import Link, chain_links, chain_row, row_hash, text_digest
from colm.db.record.store import SqlRecord
from colm.db.schema import tables
from tests.unit.db_examples import NOW, DatabaseContract, a_query, record_whole_life

ZONE = timezone(timedelta(hours=-5))
JSONS = st.recursive(
    st.none() | st.booleans() | st.text() | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip
TIMES = st.timedeltas(timedelta(days=-700_000), timedelta(days=2_900_000)).map(
    lambda since: datetime(2026, 3, 1, tzinfo=ZONE) + since
)
NAIVE = datetime(2026, 3, 1)  # noqa: DTZ001  # what must be refused


def salts() -> Iterator[bytes]:
    return (number.to_bytes(16, "big") for number in itertools.count(1))


@pytest.mark.parametrize(
    ("value", "spelling"),
    [
        ({"b": 1.0, "a": [-0.0, 0.1, 5e-324]}, '{"a":[0,0.1,5e-324],"b":1}'),
        ([1e22, 7.205759403792237e16], "[10000000000000000000000,72057594037922370]"),
        ({1: True, "0": None}, '{"0":null,"1":true}'),
        (("é\u2028", 'a"\\\n'), '["é\u2028","a\\"\\\\\\n"]'),
        ("\x00\ud800", '"␀\\\\ud800"'),
        (datetime(2026, 3, 1, 7, 0, 0, tzinfo=ZONE), '"2026-03-01T12:00:00.000000Z"'),
        (datetime(987, 3, 1, tzinfo=UTC), '"0987-03-01T00:00:00.000000Z"'),
    ],
)  # fmt: skip
def test_a_value_has_one_spelling(value: object, spelling: str) -> None:
    assert canonical(value).decode() == spelling


@pytest.mark.parametrize("value", [float("nan"), float("inf"), NAIVE])
def test_what_has_no_value_has_no_spelling(value: object) -> None:
    with pytest.raises(ValueError, match=r"no canonical form|no time zone"):
        canonical(value)


@given(JSONS)
def test_a_spelling_reads_back_as_the_same_spelling(value: Any) -> None:
    spelling = canonical(value)
    assert canonical(json.loads(spelling)) == spelling
    assert canonical(canonical_value(value)) == spelling


class ChainContract(DatabaseContract):
    """Heirs give the `url` of a migrated database."""

    @pytest.fixture
    def shelf(self, engine: Engine) -> Table:
        """One column of every type that a row of the record has."""
        shelf = Table(
            "shelf", MetaData(),
            Column("id", Integer, primary_key=True), Column("json", Json),
            Column("text", PlainText), Column("time", UtcDateTime), Column("double", Double),
        )  # fmt: skip
        with transaction(engine) as connection:
            shelf.create(connection)
        return shelf

    def test_what_is_stored_is_spelled_as_what_comes_back(
        self, engine: Engine, shelf: Table
    ) -> None:
        ids = itertools.count(1)

        @given(JSONS, st.text(), TIMES, st.floats(allow_nan=False, allow_infinity=False))
        def stored(json: Any, text: str, time: datetime, double: float) -> None:
            # None is SQL's NULL, which is no JSON.
            row = {"id": next(ids), "json": [json], "text": text, "time": time, "double": double}
            with transaction(engine) as connection:
                connection.execute(insert(shelf), row)
                found = connection.execute(select(shelf).where(shelf.c.id == row["id"])).one()
            assert canonical(dict(found._mapping)) == canonical(row)

        stored()

    def test_every_row_of_a_life_is_chained_to_the_one_before(
        self, engine: Engine, record: SqlRecord
    ) -> None:
        record_whole_life(record)
        record.refuse("query-0002", "why?", "colm", "no such option", NOW)
        for query_id, kinds in (("query-0001", 7), ("query-0002", 2)):
            rows = life_of(engine, query_id)
            assert len({link.table for link in rows}) == kinds
            head = None
            for link in rows:
                assert link.row["hash"] == row_hash(link.table, link.row, head)
                for name, digest in (link.row.get("digests") or {}).items():
                    assert digest == text_digest(link.row["salts"][name], link.row[name])
                head = link.row["hash"]
            with snapshot(engine) as connection:
                progress = tables.progress
                stands = select(progress.c.head, progress.c.next_seq)
                found = connection.execute(stands.where(progress.c.query_id == query_id)).one()
            assert tuple(found) == (head, len(rows) + 1)


def life_of(engine: Engine, query_id: str) -> list[Link]:
    """All rows of a query, in the order of their seq."""
    found = []
    with snapshot(engine) as connection:
        for table in tables.CHAINED:
            rows = connection.execute(select(table).where(table.c.query_id == query_id))
            found += [Link(table.name, dict(row._mapping)) for row in rows]
    return sorted(found, key=lambda link: int(link.row["seq"]))


class TestChainOnSqlite(ChainContract):
    @pytest.fixture
    def url(self, sqlite_url: str) -> str:
        return sqlite_url


def test_the_hash_is_the_documented_one() -> None:
    row = {"query_id": "query-0001", "round": 1, "seq": 2, "at": NOW, "hash": None}
    spelled = (
        '{"previous":"aa","row":{"at":"2026-03-01T12:00:00.123456Z","query_id":"query-0001",'
        '"round":1,"seq":2},"table":"rounds"}'
    )
    assert row_hash("rounds", row, "aa") == hashlib.sha256(spelled.encode()).hexdigest()
    salted = hashlib.sha256(bytes.fromhex("0102") + b'"Why?"').hexdigest()
    assert text_digest("0102", "Why?") == salted


def test_a_text_is_in_the_hash_by_its_digest_only() -> None:
    row = a_query().model_dump(include={"query_id", "question"}) | {"seq": 1}
    chained = chain_row("queries", row, None, salts().__next__)
    erased = {**chained, "question": "[erased]", "salts": None}
    assert row_hash("queries", erased, None) == chained["hash"]
    assert row_hash("queries", {**chained, "digests": {}}, None) != chained["hash"]


def test_a_column_that_came_later_leaves_older_hashes_as_they_are() -> None:
    row = {"query_id": "query-0001", "round": 1, "seq": 2, "at": NOW}
    assert row_hash("rounds", {**row, "later": None}, None) == row_hash("rounds", row, None)
    assert row_hash("rounds", {**row, "later": 0}, None) != row_hash("rounds", row, None)


def test_rows_are_chained_in_the_order_of_their_seq() -> None:
    links = [
        Link("rounds", {"query_id": "q", "round": seq, "seq": seq, "at": NOW}) for seq in (3, 2)
    ]
    chained, head = chain_links(links, "aa", salts().__next__)
    assert [link.row["seq"] for link in chained] == [2, 3]
    assert head == row_hash("rounds", links[0].row, chained[0].row["hash"])
    assert chain_links([], "aa", salts().__next__) == ([], "aa")
