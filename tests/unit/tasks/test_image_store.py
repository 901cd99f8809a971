"""The image store: the same promises as a folder and over HTTP; here with real servers."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port

from colm.models.errors import ImageUnavailable, InvalidAsk, SettingsError, TransientError
from colm.models.images import examine, image_id_of, sign
from colm.tasks.config.settings import ImageSettings, settings
from colm.tasks.images import client
from colm.tasks.images.stores import FolderStore, HttpStore, ImageStore
from colm.workers.image_server import application
from tests.unit.conftest import SetEnvironment
from tests.unit.engines_seeing import picture

SECRET = b"0123456789abcdef0123456789abcdef"
PICTURE = examine(picture(1))
LIMITS = ImageSettings(max_bytes=100_000, max_pixels=100_000)


class Running:
    """The image server in a thread."""

    def __init__(self, folder: Path) -> None:
        self.kept = FolderStore(folder)
        self._socket, port = bind_unused_port()
        self.url = f"http://127.0.0.1:{port}"
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._thread.start()
        self._ready.wait(10)

    async def _serve(self) -> None:
        server = HTTPServer(application(self.kept, SECRET, LIMITS), max_body_size=LIMITS.max_bytes)
        server.add_sockets([self._socket])
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._ready.set()
        await self._stop.wait()
        server.stop()
        await server.close_all_connections()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Running]:
    running = Running(tmp_path / "kept")
    yield running
    running.close()


def soon(*image_ids: str, seconds: float = 60, **more: Any) -> str:
    return sign(SECRET, image_ids, datetime.now(UTC) + timedelta(seconds=seconds), **more)


@pytest.fixture(params=["folder", "http"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ImageStore:
    if request.param == "folder":
        return FolderStore(tmp_path)
    server: Running = request.getfixturevalue("server")
    return HttpStore(server.url, SECRET)


def test_nothing_in_the_environment_stands_between_us_and_the_store(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "ALL_PROXY", "SSL_CERT_FILE"):
        monkeypatch.setenv(name, "socks://127.0.0.1:9")
    store = HttpStore(server.url, SECRET)
    store.put(PICTURE)
    assert store.get(PICTURE.image_id, soon(PICTURE.image_id)) == PICTURE.data


def test_what_was_put_can_be_had_by_its_name(store: ImageStore) -> None:
    store.put(PICTURE)
    store.put(PICTURE)
    assert store.get(PICTURE.image_id, soon(PICTURE.image_id)) == PICTURE.data


def test_what_was_never_put_is_unavailable(store: ImageStore) -> None:
    with pytest.raises(ImageUnavailable):
        store.get("0" * 64, soon("0" * 64))


def test_what_was_changed_in_the_store_is_not_given_out(tmp_path: Path) -> None:
    kept = FolderStore(tmp_path)
    kept.put(PICTURE)
    (path,) = tmp_path.rglob(PICTURE.image_id)
    path.write_bytes(picture(2))
    with pytest.raises(ImageUnavailable, match="was changed"):
        kept.get(PICTURE.image_id)


def test_what_was_damaged_in_the_folder_is_made_good_by_putting_it_again(tmp_path: Path) -> None:
    kept = FolderStore(tmp_path)
    kept.put(PICTURE)
    (path,) = tmp_path.rglob(PICTURE.image_id)
    path.write_bytes(PICTURE.data[:100])
    kept.put(PICTURE)
    assert kept.get(PICTURE.image_id) == PICTURE.data


def test_a_folder_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    kept = FolderStore(tmp_path / "file")
    with pytest.raises(TransientError, match="cannot be kept in"):
        kept.put(PICTURE)
    with pytest.raises(ImageUnavailable, match="cannot be read"):
        kept.get(PICTURE.image_id)


def age(folder: Path) -> None:
    """Have all that lies there be put long ago."""
    for path in folder.rglob("*"):
        os.utime(path, (0, 0))


def hour_ago() -> datetime:
    return datetime.now(UTC) - timedelta(hours=1)


def test_what_was_put_or_held_lately_is_not_removed(store: ImageStore, tmp_path: Path) -> None:
    name = PICTURE.image_id
    store.put(PICTURE)
    ways: list[Callable[[], None]] = [lambda: store.hold(name), lambda: store.put(PICTURE)]
    for again in ways:
        again()
        assert list(store.old(hour_ago())) == []
        assert not store.remove(name, hour_ago())
        age(tmp_path)
        assert list(store.old(hour_ago())) == [name]
    assert store.remove(name, hour_ago())
    assert store.remove(name, hour_ago()), "it is gone"
    with pytest.raises(ImageUnavailable):
        store.get(name, soon(name))
    with pytest.raises(ImageUnavailable):
        store.hold(name)


def test_nothing_of_a_removed_image_stays_in_the_folder(tmp_path: Path) -> None:
    kept = FolderStore(tmp_path)
    kept.put(PICTURE)
    (path,) = tmp_path.rglob(PICTURE.image_id)
    path.with_name(f".{path.name}.0a0b0c0d").write_bytes(PICTURE.data)  # its writer was killed
    age(tmp_path)
    assert kept.remove(PICTURE.image_id, hour_ago())
    assert list(path.parent.iterdir()) == []


def test_the_server_removes_nothing_of_the_last_hour_whatever_is_asked(server: Running) -> None:
    store = HttpStore(server.url, SECRET)
    store.put(PICTURE)
    assert not store.remove(PICTURE.image_id, datetime.now(UTC) + timedelta(days=1))


def test_the_names_of_many_images_come_in_pages(
    server: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("colm.tasks.images.stores", "colm.workers.image_server"):
        monkeypatch.setattr(f"{module}.PAGE", 2)
    pictures = [examine(picture(number)) for number in range(5)]
    for one in pictures:
        server.kept.put(one)
    age(tmp_path)
    names = list(HttpStore(server.url, SECRET).old(hour_ago()))
    assert names == sorted(one.image_id for one in pictures)


def test_nobody_removes_or_lists_with_another_s_token(server: Running) -> None:
    server.kept.put(PICTURE)
    age(server.kept.folder)
    for token in (soon(PICTURE.image_id), soon(may="write"), soon(may="remove", seconds=-1)):
        headers = {"Authorization": f"Bearer {token}"}
        where, before = f"{server.url}/images", {"before": hour_ago().isoformat()}
        listed = httpx.get(f"{where}/", params=before, headers=headers)
        removed = httpx.delete(f"{where}/{PICTURE.image_id}", params=before, headers=headers)
        assert (listed.status_code, removed.status_code) == (403, 403)
    assert server.kept.get(PICTURE.image_id) == PICTURE.data


def test_a_body_is_not_waited_for_without_a_token(server: Running) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as stranger:
        first = f"PUT /images/{PICTURE.image_id} HTTP/1.1"
        stranger.sendall(f"{first}\r\nHost: x\r\nContent-Length: 90000\r\n\r\n".encode())
        assert stranger.recv(100).startswith(b"HTTP/1.1 403")


def test_nobody_reads_or_writes_without_a_token(server: Running) -> None:
    server.kept.put(PICTURE)
    other = "0" * 64
    where = f"{server.url}/images/{PICTURE.image_id}"
    good = soon(PICTURE.image_id)
    for token in (
        "x",
        soon(other),
        soon(PICTURE.image_id, seconds=-1),
        soon(may="write"),
        good[:-1],
    ):
        answer = httpx.get(where, headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 403, token
        assert PICTURE.data not in answer.content
    assert httpx.get(where).status_code == 403
    body = picture(3)
    target = f"{server.url}/images/{image_id_of(body)}"
    for token in ("x", soon(image_id_of(body))):
        answer = httpx.put(target, content=body, headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 403
    with pytest.raises(ImageUnavailable):
        server.kept.get(image_id_of(body))


@pytest.mark.parametrize(
    ("body", "name", "reason"),
    [
        (picture(3), "0" * 64, "not those of that name"),
        (b"no image", image_id_of(b"no image"), "is not a PNG"),
        (picture(3)[:300], image_id_of(picture(3)[:300]), "damaged or truncated"),
    ],
)
def test_the_server_keeps_nothing_but_images(
    server: Running, body: bytes, name: str, reason: str
) -> None:
    answer = httpx.put(
        f"{server.url}/images/{name}",
        content=body,
        headers={"Authorization": f"Bearer {soon(may='write')}"},
    )
    assert answer.status_code == 400
    assert reason in answer.text
    with pytest.raises(ImageUnavailable):
        server.kept.get(name)


def test_a_body_beyond_the_limit_is_not_read(server: Running) -> None:
    body = b"\x89PNG" + bytes(LIMITS.max_bytes)
    try:
        answer = httpx.put(
            f"{server.url}/images/{image_id_of(body)}",
            content=body,
            headers={"Authorization": f"Bearer {soon(may='write')}"},
        )
    except httpx.TransportError:
        return  # it hung up, which is all that it owes
    assert answer.status_code in (400, 413)


def test_a_store_that_is_away_is_worth_another_try() -> None:
    away = HttpStore("http://127.0.0.1:9", SECRET)
    with pytest.raises(TransientError, match="cannot be reached"):
        away.get(PICTURE.image_id, soon(PICTURE.image_id))


def test_who_has_no_secret_is_told_so() -> None:
    with pytest.raises(SettingsError, match="secret_file is not set or cannot be read"):
        HttpStore("http://127.0.0.1:9", None).put(PICTURE)


def test_a_secret_is_every_byte_of_its_file(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_bytes(b"\n" + bytes(30) + b" ")
    assert client.secret(ImageSettings(secret_file=str(file))) == file.read_bytes()
    file.with_name("short").write_bytes(b"guess me")
    with pytest.raises(SettingsError, match="holds 8 bytes; at least 32"):
        client.secret(ImageSettings(secret_file=str(file.with_name("short"))))


@pytest.fixture
def home(tmp_path: Path, environment: SetEnvironment) -> Path:
    environment(COLM_HOME=str(tmp_path))
    return tmp_path


def test_a_caller_gives_a_path_bytes_or_a_name(home: Path) -> None:
    path = home / "sign.png"
    path.write_bytes(PICTURE.data)
    (by_path,) = client.keep([str(path)])
    assert client.keep([path, PICTURE.data, f"sha256:{by_path}"]) == (by_path,) * 3
    assert client.fetch([by_path], "") == {by_path: PICTURE.data}
    assert client.read_token([by_path], datetime.now(UTC)) == ""


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("nowhere.png", "cannot be read: No such file"),
        ("https://example.com/a.png", "is not in this site's image store"),
        ("sha256:123", "is no image id"),
        (f"sha256:{'0' * 64}", "is not in this site's image store"),
        ("/dev/zero", "is no file"),
        ("a\0b.png", "cannot be read"),
    ],
)
def test_a_caller_hears_what_is_wrong_with_an_image(home: Path, given: str, reason: str) -> None:
    assert settings().home == home
    with pytest.raises(InvalidAsk, match=reason):
        client.keep([given])
