"""A slow link brings every byte in order, and as late as its profile says."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from colm.models.errors import CallerError
from colm.workers.experiments.network_proxy import (
    SEGMENT,
    Direction,
    Profile,
    ThrottlingProxy,
    broker_address,
)


def lane(seed: int = 0, **said: float) -> Direction:
    return Direction(Profile(name="test", **said), random.Random(seed))


def test_a_delay_is_added_once() -> None:
    slow = lane(delay=0.5)
    assert slow.arrival(10, 100.0) == 100.5
    assert slow.arrival(10_000_000, 100.0) == 100.5


def test_bytes_queue_for_the_bandwidth_that_is_there() -> None:
    narrow = lane(delay=1.0, bandwidth=1000.0)
    assert narrow.arrival(500, 0.0) == 1.5
    assert narrow.arrival(500, 0.0) == 2.0
    assert narrow.arrival(500, 10.0) == 11.5  # it was free again


def test_a_lost_segment_waits_until_it_is_sent_again() -> None:
    lossy = lane(delay=0.1, loss=1.0)
    assert lossy.arrival(SEGMENT, 0.0) == pytest.approx(0.1 + 0.2 + 0.2)
    assert lossy.arrival(SEGMENT + 1, 0.0) == pytest.approx(0.1 + 2 * 0.4)
    half = lane(loss=0.5)
    late = sum(half.arrival(1, 0.0) > 0 for _ in range(1000))
    assert 400 < late < 600


@pytest.fixture(params=["tcp", "unix"])
def echo(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, int] | str]:
    """The address of a service that says everything back."""
    if request.param == "tcp":
        server = socket.create_server(("127.0.0.1", 0))
        where: tuple[str, int] | str = ("127.0.0.1", server.getsockname()[1])
    else:
        server = socket.socket(socket.AF_UNIX)
        where = str(tmp_path / "echo.sock")
        server.bind(where)
        server.listen()

    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            while data := connection.recv(65_536):
                connection.sendall(data)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield where
    server.close()


def through(link: ThrottlingProxy) -> socket.socket:
    if isinstance(link.listen, str):
        found = socket.socket(socket.AF_UNIX)
        found.connect(link.listen)
    else:
        found = socket.create_connection(link.listen)
    found.settimeout(10)
    return found


def listen_at(echo: tuple[str, int] | str) -> tuple[str, int] | str:
    return echo + ".slow" if isinstance(echo, str) else ("127.0.0.1", 0)


def test_every_byte_comes_back_in_order_and_late(echo: tuple[str, int] | str) -> None:
    said = random.Random(1).randbytes(200_000)
    profile = Profile(name="far", delay=0.1, loss=0.01)
    with ThrottlingProxy(listen=listen_at(echo), target=echo, profile=profile) as link:
        with through(link) as near:
            began = time.monotonic()
            threading.Thread(target=near.sendall, args=(said,), daemon=True).start()
            heard = b""
            while len(heard) < len(said):
                heard += near.recv(65_536)
        assert heard == said
        assert time.monotonic() - began >= 0.2
        assert link.sent == link.received == len(said)
    if isinstance(link.listen, str):
        assert not Path(link.listen).exists()


def test_an_end_reaches_the_other_side(echo: tuple[str, int] | str) -> None:
    with (
        ThrottlingProxy(
            listen=listen_at(echo), target=echo, profile=Profile(name="direct")
        ) as link,
        through(link) as near,
    ):
        near.sendall(b"x")
        assert near.recv(1) == b"x"
        near.shutdown(socket.SHUT_WR)
        assert near.recv(1) == b""


def test_without_a_service_the_connection_ends(tmp_path: Path) -> None:
    nobody = str(tmp_path / "nobody.sock")
    listen = str(tmp_path / "slow.sock")
    with (
        ThrottlingProxy(listen=listen, target=nobody, profile=Profile(name="direct")) as link,
        through(link) as near,
    ):
        assert near.recv(1) == b""


def test_no_link_is_put_before_a_certificate() -> None:
    assert broker_address("broker", None, "amqp") == ("broker", 5672)
    with pytest.raises(CallerError, match="over TLS"):
        broker_address("broker", 5671, "amqps")
