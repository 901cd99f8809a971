"""The proxy delivers every byte in order, as late as its profile says."""

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
    Address,
    Direction,
    NetworkProxy,
    Profile,
    broker_address,
)
from tests.chaos.site import poll


def direction(seed: int = 0, **profile: float) -> Direction:
    return Direction(Profile(name="test", **profile), random.Random(seed))


def test_a_delay_is_added_once() -> None:
    slow = direction(delay=0.5)
    assert slow.arrival(10, 100.0) == 100.5
    assert slow.arrival(10_000_000, 100.0) == 100.5


def test_bytes_queue_for_the_bandwidth_that_is_there() -> None:
    narrow = direction(delay=1.0, bandwidth=1000.0)
    assert narrow.arrival(500, 0.0) == 1.5
    assert narrow.arrival(500, 0.0) == 2.0
    assert narrow.arrival(500, 10.0) == 11.5  # it was free again


def test_a_lost_segment_waits_until_it_is_sent_again() -> None:
    lossy = direction(delay=0.1, loss=1.0)
    assert lossy.arrival(SEGMENT, 0.0) == pytest.approx(0.1 + 0.2 + 0.2)
    assert lossy.arrival(SEGMENT + 1, 0.0) == pytest.approx(0.1 + 2 * 0.4)
    half = direction(loss=0.5)
    late = sum(half.arrival(1, 0.0) > 0 for _ in range(1000))
    assert 400 < late < 600


@pytest.fixture(params=["tcp", "unix"])
def echo(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Address]:
    """The address of a service that sends back every byte."""
    if request.param == "tcp":
        server = socket.create_server(("127.0.0.1", 0))
        where: Address = ("127.0.0.1", server.getsockname()[1])
    else:
        server = socket.socket(socket.AF_UNIX)
        where = str(tmp_path / "echo.sock")
        server.bind(where)
        server.listen()

    threading.Thread(target=_serve, args=[server], daemon=True).start()
    yield where
    server.close()


def _serve(listener: socket.socket) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_echo, args=[client], daemon=True).start()


def _echo(client: socket.socket) -> None:
    with client:
        try:
            while data := client.recv(65_536):
                client.sendall(data)
        except OSError:
            return


def through(link: NetworkProxy) -> socket.socket:
    if isinstance(link.listen, str):
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(link.listen)
    else:
        connection = socket.create_connection(link.listen)
    connection.settimeout(10)
    return connection


def listen_at(echo: Address) -> Address:
    return echo + ".slow" if isinstance(echo, str) else ("127.0.0.1", 0)


def test_every_byte_comes_back_in_order_and_late(echo: Address) -> None:
    data = random.Random(1).randbytes(200_000)
    profile = Profile(name="far", delay=0.1, loss=0.01)
    with NetworkProxy(listen=listen_at(echo), target=echo, profile=profile) as link:
        with through(link) as near:
            began = time.monotonic()
            threading.Thread(target=near.sendall, args=(data,), daemon=True).start()
            back = b""
            while len(back) < len(data):
                back += near.recv(65_536)
        assert back == data
        assert time.monotonic() - began >= 0.2
        assert link.sent == link.received == len(data)
    if isinstance(link.listen, str):
        assert not Path(link.listen).exists()


def test_an_end_reaches_the_other_side(echo: Address) -> None:
    with (
        NetworkProxy(listen=listen_at(echo), target=echo, profile=Profile(name="direct")) as link,
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
        NetworkProxy(listen=listen, target=nobody, profile=Profile(name="direct")) as link,
        through(link) as near,
    ):
        assert near.recv(1) == b""


def test_no_link_is_put_before_a_certificate() -> None:
    assert broker_address("broker", None, "amqp") == ("broker", 5672)
    with pytest.raises(CallerError, match="over TLS"):
        broker_address("broker", 5671, "amqps")


def proxy_to(target: Address) -> NetworkProxy:
    return NetworkProxy(listen=listen_at(target), target=target)


def exchange(client: socket.socket, data: bytes) -> bytes:
    sender = threading.Thread(target=client.sendall, args=[data])
    sender.start()
    back = b""
    while len(back) < len(data):
        back += client.recv(65_536)
    sender.join()
    return back


def test_everything_is_forwarded_both_ways(echo: Address) -> None:
    big = bytes(range(256)) * 4096
    with proxy_to(echo) as proxy, through(proxy) as client:
        assert exchange(client, big) == big
        assert proxy.connections == 1


def test_a_connection_that_is_closed_is_closed_at_the_other_end(echo: Address) -> None:
    with proxy_to(echo) as proxy:
        through(proxy).close()
        poll(lambda: proxy.connections == 0, timeout=5, what="it is closed")


@pytest.mark.parametrize("direction", [{"up": False}, {"down": False}, {}])
def test_what_is_held_arrives_after_the_release_and_not_before(
    echo: Address, direction: dict[str, bool]
) -> None:
    with proxy_to(echo) as proxy, through(proxy) as client:
        assert exchange(client, b"before") == b"before"
        proxy.hold(**direction)
        client.sendall(b"held")
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.recv(10)
        assert proxy.held_bytes >= 4
        proxy.release()
        client.settimeout(5)
        assert client.recv(10) == b"held"


@pytest.mark.parametrize("echo", ["tcp"], indirect=True)  # a Unix socket has no RST
def test_a_reset_breaks_every_connection_and_the_next_one_works(echo: Address) -> None:
    with proxy_to(echo) as proxy:
        with through(proxy) as client:
            assert exchange(client, b"before") == b"before"
            assert proxy.reset() == 1
            with pytest.raises(ConnectionResetError):
                client.recv(10)
        with through(proxy) as client:
            assert exchange(client, b"after") == b"after"
