"""The file of a SQLite record: made by who may, for its user alone, and read where it lies."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

from colm.db.connection import connect, transaction
from colm.db.reads.answers import recent_queries
from colm.db.record.store import SqlRecord
from colm.db.schema import migrate
from colm.models.errors import SettingsError, TransientError
from colm.tasks.config.paths import sqlite_url
from tests.unit.db_examples import NOW, record_whole_life

AWKWARD = [
    "feature%2Flogin", "what?", "what?a=b", "a#b", "50%", "%", "%%41", "a b", "\u00dcbung", "{x}",
    "a;b", "a&b=c+d", "new\nline", "-rf", "~", "'quoted\"", ":memory:", "file:x", "a@b:c",
    "deep/" * 60,
]  # fmt: skip


@pytest.fixture
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def seal_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing can be written, as on a mounted snapshot; root may write what its modes forbid."""
    may = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK and may(path, mode))


def modes(folder: Path) -> dict[str, str]:
    return {path.name: oct(path.stat().st_mode & 0o777) for path in folder.iterdir()}


@pytest.mark.parametrize("name", AWKWARD)
def test_a_record_lies_where_its_folder_is_whatever_that_is_called(
    tmp_path: Path, name: str
) -> None:
    folder = tmp_path / name
    folder.mkdir(parents=True)
    url = sqlite_url(folder / "record.sqlite")
    assert make_url(url).database == str(folder / "record.sqlite")
    migrate.upgrade(url)
    assert recent_queries(connect(url), 1) == []
    assert (folder / "record.sqlite").is_file()
    top = tmp_path / Path(name).parts[0]
    assert list(tmp_path.iterdir()) == [top]


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o777], indirect=True)
@pytest.mark.usefixtures("umask")
def test_a_record_and_what_lies_beside_it_is_its_users_alone(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "record.sqlite")
    migrate.upgrade(url)
    engine = connect(url)
    record_whole_life(SqlRecord(engine))
    assert set(modes(tmp_path)) == {"record.sqlite", "record.sqlite-wal", "record.sqlite-shm"}
    assert set(modes(tmp_path).values()) == {"0o600"}


def test_a_mode_that_an_operator_gave_is_kept(sqlite_url: str, tmp_path: Path) -> None:
    (tmp_path / "colm.db").chmod(0o640)
    migrate.upgrade(sqlite_url)
    assert modes(tmp_path)["colm.db"] == "0o640"


def test_to_look_at_a_record_that_is_not_there_makes_none(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "record.sqlite")
    with pytest.raises(SettingsError, match=r"no record at .*: run `colm migrate`"):
        recent_queries(connect(url), 1)
    assert len(migrate.pending(url)) > 1
    with pytest.raises(SettingsError, match="no record at"), transaction(connect(url)):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_record_whose_disk_has_gone_is_waited_for(sqlite_url: str, tmp_path: Path) -> None:
    engine = connect(sqlite_url)
    recent_queries(engine, 1)
    engine.dispose()
    (tmp_path / "colm.db").rename(tmp_path / "elsewhere")
    with pytest.raises(TransientError, match=r"no record at .* any more"):
        recent_queries(engine, 1)
    (tmp_path / "elsewhere").rename(tmp_path / "colm.db")
    assert recent_queries(engine, 1) == []


@pytest.fixture
def recorded(sqlite_url: str, tmp_path: Path) -> Path:
    """A record of one query, closed."""
    engine = connect(sqlite_url)
    record_whole_life(SqlRecord(engine))
    engine.dispose()
    return tmp_path / "colm.db"


def test_a_record_on_media_that_cannot_be_written_is_read(
    recorded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seal_off(monkeypatch)
    before = sorted(recorded.parent.iterdir())
    engine = connect(sqlite_url(recorded))
    assert [found.query_id for found in recent_queries(engine, 5)] == ["query-0001"]
    assert sorted(recorded.parent.iterdir()) == before
    with pytest.raises(TransientError, match="readonly"):
        SqlRecord(engine).refuse("query-0002", "why?", "colm", "reason", NOW)


def test_what_is_still_beside_a_record_that_cannot_be_written_is_told_of(
    recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = connect(sqlite_url(recorded))
    SqlRecord(writer).refuse("query-0002", "why?", "colm", "reason", NOW)
    frozen = tmp_path / "frozen"
    frozen.mkdir()
    for name in ("colm.db", "colm.db-wal"):
        shutil.copyfile(tmp_path / name, frozen / name)
    seal_off(monkeypatch)
    # A living one, with all that its writer has beside it, is read.
    assert len(recent_queries(connect(sqlite_url(recorded)), 5)) == 2
    open_it = sqlite3.connect

    def on_media(url: str, **given: Any) -> sqlite3.Connection:
        if "frozen" in url and "immutable" not in url:  # what SQLite would have to write
            raise sqlite3.OperationalError("unable to open database file")
        opened: sqlite3.Connection = open_it(url, **given)
        return opened

    monkeypatch.setattr(sqlite3, "connect", on_media)
    with pytest.raises(SettingsError, match=r"latest changes are in .*-wal: copy both"):
        recent_queries(connect(sqlite_url(frozen / "colm.db")), 5)


def test_a_link_to_a_record_is_the_record(recorded: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(recorded)
    assert len(recent_queries(connect(sqlite_url(link)), 5)) == 1
    (tmp_path / "dangling").symlink_to(tmp_path / "new.sqlite")
    migrate.upgrade(sqlite_url(tmp_path / "dangling"))
    assert modes(tmp_path)["new.sqlite"] == "0o600"


def test_sqlites_own_uri_is_left_to_say_how_it_is_opened(recorded: Path) -> None:
    engine = connect(f"sqlite:///file:{recorded}?mode=ro&immutable=1&uri=true")
    assert len(recent_queries(engine, 5)) == 1
