"""A TCP proxy that emulates a slow, cut or reset network between a process and a service.

`Direction` is a pure function from bytes and time to the time of arrival. TCP hides a lost segment:
everything behind it waits until it is sent again. A loss is therefore a delay: Linux's shortest
retransmission timeout (200 ms; RFC 6298, section 2.4, says 1 s) and one more round trip.
"""

from __future__ import annotations

import contextlib
import random
import select
import socket
import struct
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

from colm.models.errors import CallerError

#: Bytes of a TCP segment on Ethernet, and the shortest retransmission timeout (seconds).
SEGMENT = 1448
RESEND_AFTER = 0.2
#: Bytes of one read, and reads that one direction of a connection buffers.
_PIECE = 16_384
_PIECES = 64

#: Host and port of a TCP socket, or the path of a Unix socket.
Address = tuple[str, int] | str


@dataclass(frozen=True, kw_only=True)
class Profile:
    """The emulated network, the same in each direction."""

    name: str
    #: Seconds one way.
    delay: float = 0.0
    #: Bytes per second; None is unlimited.
    bandwidth: float | None = None
    #: Share of segments that are lost at first.
    loss: float = 0.0


@dataclass
class Direction:
    """One direction of a link. Pure: time and random numbers are arguments."""

    profile: Profile
    chance: random.Random
    _free: float = 0.0

    def arrival(self, size: int, now: float) -> float:
        """The arrival time of `size` bytes sent at `now` (seconds of the same clock)."""
        profile = self.profile
        start = max(now, self._free)
        self._free = start + (size / profile.bandwidth if profile.bandwidth else 0.0)
        segments = -(-size // SEGMENT)
        lost = sum(self.chance.random() < profile.loss for _ in range(segments))
        return self._free + profile.delay + lost * (RESEND_AFTER + 2 * profile.delay)


@dataclass(eq=False)
class _Pipe:
    """One direction of one connection."""

    source: socket.socket
    sink: socket.socket
    direction: Direction
    #: From the process to the service.
    up: bool
    #: Arrival times and bytes; empty bytes are the end of the stream.
    pieces: deque[tuple[float, bytes]] = field(default_factory=deque)
    read_all: bool = False
    #: The sink's buffer is full.
    blocked: bool = False
    #: The sink is gone; further bytes are discarded.
    broken: bool = False
    done: bool = False


@dataclass(kw_only=True)
class NetworkProxy:
    """Forwards every connection at `listen` to `target` as `profile` says. A context manager."""

    target: Address
    listen: Address = ("127.0.0.1", 0)
    profile: Profile = Profile(name="direct")
    seed: int = 0
    #: Bytes to the service, and from it.
    sent: int = 0
    received: int = 0
    #: Bytes that arrived while their direction was held.
    held_bytes: int = 0
    _connections: list[tuple[_Pipe, _Pipe]] = field(default_factory=list)
    _held: set[bool] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stopped: bool = False

    def __enter__(self) -> NetworkProxy:
        up, down = (Direction(self.profile, random.Random(2 * self.seed + way)) for way in (0, 1))
        self._directions = {True: up, False: down}
        self._wakeup, self._waker = socket.socketpair()
        self._listener = _listening(self.listen)
        if not isinstance(self.listen, str):
            self.listen = ("127.0.0.1", self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._run, name="network proxy", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._stopped = True
        self._wake()
        self._thread.join()
        self.reset()
        for end in (self._listener, self._wakeup, self._waker):
            end.close()
        if isinstance(self.listen, str):
            Path(self.listen).unlink(missing_ok=True)

    @property
    def port(self) -> int:
        """The TCP port that it listens on; 0 for a Unix socket."""
        return 0 if isinstance(self.listen, str) else self.listen[1]

    @property
    def connections(self) -> int:
        with self._lock:
            return len(self._connections)

    def hold(self, *, up: bool = True, down: bool = True) -> None:
        """Forward nothing in these directions: no byte, no close, no refusal."""
        with self._lock:
            self._held = {direction for direction, held in ((True, up), (False, down)) if held}
            self.held_bytes = 0

    def release(self) -> None:
        """Forward again, beginning with the bytes that were held."""
        with self._lock:
            self._held = set()
        self._wake()

    def reset(self) -> int:
        """Break off every connection with RST at both ends; returns their number."""
        with self._lock:
            broken, self._connections = self._connections, []
            for up, _ in broken:
                _abort(up.source)
                _abort(up.sink)
        self._wake()  # the kernel sends RST once no thread selects on the socket
        return len(broken)

    def _wake(self) -> None:
        self._waker.send(b"-")

    def _run(self) -> None:
        while not self._stopped:
            readers, writers, timeout = self._write_due()
            try:
                ready, _, _ = select.select(
                    [self._listener, self._wakeup, *readers], writers, [], timeout
                )
            except (OSError, ValueError):  # a reset closed a socket in the meantime
                continue
            if self._wakeup in ready:
                self._wakeup.recv(_PIECE)
            if self._listener in ready:
                near, _ = self._listener.accept()
                threading.Thread(target=self._connect, args=[near], daemon=True).start()
            with self._lock:
                for pipe in self._pipes():
                    if pipe.source in ready:
                        self._read(pipe)

    def _connect(self, near: socket.socket) -> None:
        try:
            far = _connected(self.target)
        except OSError:  # the process sees a closed connection and tries again
            near.close()
            return
        for end in (near, far):
            end.setblocking(False)
        up = _Pipe(near, far, self._directions[True], up=True)
        down = _Pipe(far, near, self._directions[False], up=False)
        with self._lock:
            if self._stopped:
                near.close()
                far.close()
                return
            self._connections.append((up, down))
            self._wake()

    def _pipes(self) -> list[_Pipe]:
        return [pipe for connection in self._connections for pipe in connection]

    def _write_due(self) -> tuple[list[socket.socket], list[socket.socket], float | None]:
        """Hands over the pieces that are due.

        Returns the sockets to read, the sockets to write, and the seconds until the next piece.
        """
        with self._lock:
            now = time.monotonic()
            for pipe in self._pipes():
                if pipe.up not in self._held:
                    _write(pipe, now)
            for connection in [c for c in self._connections if all(pipe.done for pipe in c)]:
                self._connections.remove(connection)
                connection[0].source.close()
                connection[0].sink.close()
            pipes = self._pipes()
            free = [pipe for pipe in pipes if pipe.up not in self._held and pipe.pieces]
            due = min((pipe.pieces[0][0] for pipe in free if not pipe.blocked), default=None)
            return (
                [p.source for p in pipes if not p.read_all and len(p.pieces) < _PIECES],
                [pipe.sink for pipe in free if pipe.blocked],
                None if due is None else max(0.0, due - now),
            )

    def _read(self, pipe: _Pipe) -> None:
        try:
            data = pipe.source.recv(_PIECE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        pipe.pieces.append((pipe.direction.arrival(len(data), time.monotonic()), data))
        pipe.read_all = not data
        self.sent += len(data) if pipe.up else 0
        self.received += 0 if pipe.up else len(data)
        self.held_bytes += len(data) if pipe.up in self._held else 0


def _write(pipe: _Pipe, now: float) -> None:
    """Hand over the pieces that are due, as far as the sink takes them."""
    pipe.blocked = False
    while pipe.pieces and pipe.pieces[0][0] <= now and not pipe.blocked:
        due, data = pipe.pieces.popleft()
        try:
            if not data:
                pipe.done = True
                pipe.sink.shutdown(socket.SHUT_WR)
            elif not pipe.broken:
                data = data[pipe.sink.send(data) :]
                pipe.blocked = bool(data)
        except BlockingIOError:
            pipe.blocked = True
        except OSError:
            pipe.broken = True
        if pipe.blocked:
            pipe.pieces.appendleft((due, data))


def broker_address(host: str | None, port: int | None, scheme: str) -> Address:
    """The address of a broker. Raises CallerError for TLS, which the proxy cannot pass on."""
    if scheme == "amqps":
        raise CallerError(
            "the broker is reached over TLS, and its certificate does not name the proxy on this "
            "machine: run this experiment on a site with an amqp:// or an embedded broker"
        )
    return (host or "127.0.0.1", port or 5672)


def _listening(address: Address) -> socket.socket:
    if not isinstance(address, str):
        return socket.create_server(address)
    Path(address).unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(64)
    return listener


def _connected(address: Address) -> socket.socket:
    if not isinstance(address, str):
        connection = socket.create_connection(address, timeout=10)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(address)
    except OSError:
        connection.close()
        raise
    return connection


def _abort(end: socket.socket) -> None:
    """Close with RST instead of FIN."""
    with contextlib.suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    end.close()
