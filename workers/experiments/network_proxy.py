"""A slow network between a process and its broker, made on one machine: a proxy that delays.

What a link does to bytes is a pure function of time (`Direction`); the proxy sleeps as it says. TCP
hides a lost segment: everything behind it waits until it is sent again. So a loss is that wait
here: the least that Linux takes (200 ms, where RFC 6298, section 2.4, has a second) and one more
way there and back.
"""

from __future__ import annotations

import contextlib
import queue
import random
import socket
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from colm.models.errors import CallerError

#: Bytes of one segment on Ethernet, and how long a sender waits at least before it sends it again.
SEGMENT = 1448
RESEND_AFTER = 0.2
#: Bytes read at once, and pieces that one direction of a connection may have on their way.
_PIECE = 16_384
_PIECES = 64

#: Where a socket is: a host and a port, or the path of a Unix socket.
Address = tuple[str, int] | str


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What a network does to each direction."""

    name: str
    #: Seconds one way.
    delay: float = 0.0
    #: Bytes a second; None is as many as there are.
    bandwidth: float | None = None
    #: The share of segments that are lost at first.
    loss: float = 0.0


@dataclass
class Direction:
    """One direction of a link. Pure: time and chance are given to it."""

    profile: Profile
    chance: random.Random
    _free: float = 0.0

    def arrival(self, size: int, now: float) -> float:
        """When `size` bytes that are sent at `now` are there (seconds, by the same clock)."""
        profile = self.profile
        start = max(now, self._free)
        self._free = start + (size / profile.bandwidth if profile.bandwidth else 0.0)
        segments = -(-size // SEGMENT)
        lost = sum(self.chance.random() < profile.loss for _ in range(segments))
        return self._free + profile.delay + lost * (RESEND_AFTER + 2 * profile.delay)


@dataclass(kw_only=True)
class ThrottlingProxy:
    """Forwards every connection at `listen` to `target`, as `profile` says. Use it as a context."""

    listen: Address
    target: Address
    profile: Profile
    seed: int = 0
    #: Bytes from those who connect, and to them.
    sent: int = 0
    received: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)
    _ends: list[socket.socket] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> ThrottlingProxy:
        up, down = (Direction(self.profile, random.Random(2 * self.seed + way)) for way in (0, 1))
        self._up, self._down = up, down
        if isinstance(self.listen, str):
            Path(self.listen).unlink(missing_ok=True)
        self._listener = _listening(self.listen)
        self._listener.settimeout(0.2)
        if not isinstance(self.listen, str):
            self.listen = ("127.0.0.1", self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._accept, name="slow link", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._listener.close()
        with self._lock:
            for end in self._ends:
                _shut(end)
        if isinstance(self.listen, str):
            Path(self.listen).unlink(missing_ok=True)

    def _accept(self) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(TimeoutError):
                near, _ = self._listener.accept()
                try:
                    far = _connected(self.target)
                except OSError:  # whoever connects sees the broker away, and tries again
                    near.close()
                    continue
                with self._lock:
                    self._ends += [near, far]
                self._forward(near, far, self._up)
                self._forward(far, near, self._down)

    def _forward(self, source: socket.socket, sink: socket.socket, lane: Direction) -> None:
        """Two threads for one direction: one takes bytes and dates them, one hands them over."""
        way: queue.Queue[tuple[float, bytes]] = queue.Queue(_PIECES)
        for work in (
            lambda: self._take(source, way, lane),
            lambda: self._hand_over(way, sink),
        ):
            threading.Thread(target=work, name="slow link", daemon=True).start()

    def _take(
        self, source: socket.socket, way: queue.Queue[tuple[float, bytes]], lane: Direction
    ) -> None:
        data = b"-"
        while data:
            try:
                data = source.recv(_PIECE)
            except OSError:
                data = b""
            with self._lock:
                due = lane.arrival(len(data), time.monotonic())
                self.sent += len(data) if lane is self._up else 0
                self.received += len(data) if lane is self._down else 0
            way.put((due, data))

    def _hand_over(self, way: queue.Queue[tuple[float, bytes]], sink: socket.socket) -> None:
        """Until the other side has ended; what cannot be handed over is taken all the same."""
        gone = False
        while True:
            due, data = way.get()
            time.sleep(max(0.0, due - time.monotonic()))
            if not data:
                with contextlib.suppress(OSError):
                    sink.shutdown(socket.SHUT_WR)
                return
            try:
                if not gone:
                    sink.sendall(data)
            except OSError:
                gone = True


def broker_address(host: str | None, port: int | None, scheme: str) -> Address:
    """Where a broker of this address is reached. Raises CallerError where no link can be put."""
    if scheme == "amqps":
        raise CallerError(
            "the broker is reached over TLS, whose certificate does not name a link on this "
            "machine: make this experiment on a site with an amqp:// broker or an embedded one"
        )
    return (host or "127.0.0.1", port or 5672)


def _listening(where: Address) -> socket.socket:
    if not isinstance(where, str):
        return socket.create_server(where)
    found = socket.socket(socket.AF_UNIX)
    found.bind(where)
    found.listen(64)
    return found


def _connected(where: Address) -> socket.socket:
    if not isinstance(where, str):
        found = socket.create_connection(where, timeout=10)
        found.settimeout(None)
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return found
    found = socket.socket(socket.AF_UNIX)
    try:
        found.connect(where)
    except OSError:
        found.close()
        raise
    return found


def _shut(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
