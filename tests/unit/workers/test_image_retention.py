"""An image goes with the last query that shows it."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from PIL import Image
from sqlalchemy import Engine

from colm.db.audit import erase as erasing
from colm.db.connection import connect
from colm.db.images import SqlImages, images_in_use, images_of
from colm.db.record.store import SqlRecord
from colm.models.errors import CallerError, ImageUnavailable
from colm.models.images import Picture, examine
from colm.tasks.images.stores import FolderStore
from tests.unit.conftest import SetEnvironment
from tests.unit.db_examples import LATER, DatabaseContract, a_query, finishing
from tests.unit.workers.test_audit_commands import run


def painted(colour: str) -> Picture:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(file, "PNG")
    return examine(file.getvalue())


SIGN, TREE, SEA = painted("red"), painted("green"), painted("blue")


def answered(record: SqlRecord, query_id: str, *shown: Picture) -> None:
    query = a_query(query_id, images=[picture.image_id for picture in shown])
    with record.begin(query) as life:
        life.apply(finishing(query_id), LATER)


class ImagesContract(DatabaseContract):
    """What is promised of images in any database, and of who shows them."""

    def test_what_was_put_or_held_since_then_stays(self, engine: Engine) -> None:
        kept, name = SqlImages(engine), SIGN.image_id
        kept.put(SIGN)
        ways: list[Callable[[], None]] = [lambda: kept.put(SIGN), lambda: kept.hold(name)]
        for again in ways:
            before = datetime.now(UTC)
            again()
            assert list(kept.old(before)) == []
            assert not kept.remove(name, before)
        kept.put(TREE)
        later = datetime.now(UTC) + timedelta(seconds=1)
        names = sorted((name, TREE.image_id))
        assert list(kept.old(later)) == names
        assert list(kept.old(later, after=names[0])) == names[1:]
        assert kept.remove(name, later)
        assert kept.remove(name, later), "it is gone"
        with pytest.raises(ImageUnavailable):
            kept.get(name)
        with pytest.raises(ImageUnavailable):
            kept.hold(name)
        assert kept.get(TREE.image_id) == TREE.data

    def test_queries_show_images_until_they_are_erased(
        self, engine: Engine, record: SqlRecord
    ) -> None:
        answered(record, "query-0001", SIGN, TREE)
        answered(record, "query-0002", TREE)
        answered(record, "query-0003")
        both = {SIGN.image_id, TREE.image_id}
        assert images_of(engine, ["query-0001", "query-0003", "none"]) == both
        assert images_in_use(engine, {*both, SEA.image_id}) == both
        erasing.erase(engine, "query-0001", asked_by="me", reason="asked", now=LATER, signer=None)
        assert images_in_use(engine, both) == {TREE.image_id}
        assert images_of(engine, ["query-0001"]) == both, "the record keeps their names"


class TestImagesOnSqlite(ImagesContract):
    @pytest.fixture
    def url(self, sqlite_url: str) -> str:
        return sqlite_url


@pytest.fixture
def record(environment: SetEnvironment, sqlite_url: str) -> SqlRecord:
    environment(COLM_DATABASE=sqlite_url, COLM_BROKER="amqp://localhost:1/none")
    return SqlRecord(connect(sqlite_url))


@pytest.fixture
def kept(tmp_path: Path) -> FolderStore:
    store = FolderStore(tmp_path / "home" / "images")
    for one in (SIGN, TREE, SEA):
        store.put(one)
    return store


def age(kept: FolderStore) -> None:
    for path in kept.folder.rglob("*"):
        os.utime(path, (0, 0))


def there(kept: FolderStore) -> set[str]:
    return {path.name for path in kept.folder.rglob("*") if path.is_file()}


def erase(query: str, *more: str) -> str:
    return run("erase", query, "--by", "its caller", "--reason", "asked", *more)[1]


def test_an_erasure_removes_what_no_other_query_shows(record: SqlRecord, kept: FolderStore) -> None:
    answered(record, "query-0001", SIGN, TREE)
    answered(record, "query-0002", TREE)
    age(kept)
    told = erase("query-0001")
    assert "removed 1 images" in told
    assert "1 images stay: other queries refer to them" in told
    assert there(kept) == {TREE.image_id, SEA.image_id}
    assert "removed 1 images" in erase("query-0002")
    assert there(kept) == {SEA.image_id}, "no query of these showed it"


def test_an_image_that_was_put_just_now_goes_when_asked_again(
    record: SqlRecord, kept: FolderStore
) -> None:
    answered(record, "query-0001", SIGN)
    assert "1 images stay for now" in erase("query-0001")
    assert SIGN.image_id in there(kept)
    age(kept)
    told = erase("query-0001")
    assert "erased the texts of 0 queries" in told
    assert "removed 1 images" in told
    assert SIGN.image_id not in there(kept)


def test_an_open_query_keeps_its_images(record: SqlRecord, kept: FolderStore) -> None:
    with record.begin(a_query("query-0001", images=[SIGN.image_id])):
        pass
    answered(record, "query-0002", SIGN)
    age(kept)
    with pytest.raises(CallerError, match="is open"):
        erase("query-0001")
    assert "other queries refer to them" in erase("query-0002")
    assert SIGN.image_id in there(kept)


def test_images_are_kept_where_they_are_asked_to_be(record: SqlRecord, kept: FolderStore) -> None:
    answered(record, "query-0001", SIGN)
    age(kept)
    assert "images" not in erase("query-0001", "--keep-images")
    assert "images" not in run("purge", "--older-than", "0m", "--keep-images")[1]
    assert SIGN.image_id in there(kept)


def test_a_purge_removes_old_images_that_no_query_shows(
    record: SqlRecord, kept: FolderStore
) -> None:
    answered(record, "query-0001", SIGN)
    with record.begin(a_query("query-0002", images=[TREE.image_id])):
        pass  # it is open, and stays
    assert "images" not in run("purge", "--older-than", "1000d")[1]
    age(kept)
    kept.hold(SEA.image_id)
    assert "removed 1 unreferenced images" in run("purge", "--older-than", "0m")[1]
    assert there(kept) == {TREE.image_id, SEA.image_id}
