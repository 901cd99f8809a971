"""The network that can be cut forwards everything, until it is cut."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from tests.chaos.proxy import Proxy
from tests.chaos.site import poll

BIG = bytes(range(256)) * 4096


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a service that sends back what it gets."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_serve, args=[listener], daemon=True).start()
        yield listener.getsockname()[1]


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


def connected(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=5)


def exchange(client: socket.socket, data: bytes) -> bytes:
    sender = threading.Thread(target=client.sendall, args=[data])
    sender.start()
    back = b""
    while len(back) < len(data):
        back += client.recv(65_536)
    sender.join()
    return back


def test_everything_is_forwarded_both_ways(echo: int) -> None:
    with Proxy(echo) as proxy, connected(proxy) as client:
        assert exchange(client, BIG) == BIG
        assert proxy.connections == 1


def test_a_connection_that_is_closed_is_closed_at_the_other_end(echo: int) -> None:
    with Proxy(echo) as proxy:
        connected(proxy).close()
        poll(lambda: proxy.connections == 0, timeout=5, what="it is closed")


@pytest.mark.parametrize("direction", [{"up": False}, {"down": False}, {}])
def test_what_is_held_arrives_after_the_release_and_not_before(
    echo: int, direction: dict[str, bool]
) -> None:
    with Proxy(echo) as proxy, connected(proxy) as client:
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


def test_a_reset_breaks_every_connection_and_the_next_one_works(echo: int) -> None:
    with Proxy(echo) as proxy:
        with connected(proxy) as client:
            assert exchange(client, b"before") == b"before"
            assert proxy.reset() == 1
            with pytest.raises(ConnectionResetError):
                client.recv(10)
        with connected(proxy) as client:
            assert exchange(client, b"after") == b"after"
