"""A network that can be cut: a TCP proxy which can stop forwarding without a word, or reset."""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import threading
from dataclasses import dataclass, field

_CHUNK = 65_536
_TICK_S = 0.02


@dataclass(eq=False)
class _Pipe:
    """One direction of one connection."""

    source: socket.socket
    sink: socket.socket
    #: From the worker to the service.
    up: bool
    waiting: bytes = b""
    closing: bool = False


@dataclass
class Proxy:
    """Forwards every connection to `target` until it is told otherwise. Use it as a context."""

    target: int
    port: int = 0
    #: Bytes that arrived while their direction was held.
    held_bytes: int = 0
    _pipes: list[_Pipe] = field(default_factory=list)
    _held: set[bool] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Proxy:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._listener.settimeout(_TICK_S)
        self.port = self._listener.getsockname()[1]
        self._threads = [
            threading.Thread(target=loop, name=f"proxy-{self.port}", daemon=True)
            for loop in (self._accept, self._forward)
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(5)
        self.reset()
        self._listener.close()

    @property
    def connections(self) -> int:
        with self._lock:
            return len(self._pipes) // 2

    def hold(self, *, up: bool = True, down: bool = True) -> None:
        """Forward nothing in these directions: no byte, no close, no refusal."""
        with self._lock:
            self._held = {direction for direction, on in ((True, up), (False, down)) if on}
            self.held_bytes = 0

    def release(self) -> None:
        """Forward again, beginning with what was held back."""
        with self._lock:
            self._held = set()

    def reset(self) -> int:
        """Break off every connection with RST at both ends; how many there were."""
        with self._lock:
            broken, self._pipes = self._pipes, []
            for pipe in broken:
                _abort(pipe.source)
        return len(broken) // 2

    def _accept(self) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(TimeoutError):
                worker, _ = self._listener.accept()
                self._connect(worker)

    def _connect(self, worker: socket.socket) -> None:
        try:
            service = socket.create_connection(("127.0.0.1", self.target), timeout=5)
        except OSError:
            _abort(worker)
            return
        for end in (worker, service):
            end.setblocking(False)
        with self._lock:
            self._pipes.append(_Pipe(worker, service, up=True))
            self._pipes.append(_Pipe(service, worker, up=False))

    def _forward(self) -> None:
        while not self._stop.is_set():
            with self._lock:
                pipes = list(self._pipes)
            with selectors.DefaultSelector() as selector:
                for pipe in pipes:
                    with contextlib.suppress(ValueError):  # closed a moment ago
                        selector.register(pipe.source, selectors.EVENT_READ, pipe)
                ready = {key.data for key, _ in selector.select(_TICK_S)} if pipes else set()
            with self._lock:
                for pipe in pipes:
                    if pipe in self._pipes:
                        self._move(pipe, readable=pipe in ready)
            if not pipes or self._held:  # what is held stays readable: no reason to hurry
                self._stop.wait(_TICK_S)

    def _move(self, pipe: _Pipe, *, readable: bool) -> None:
        try:
            if readable and len(pipe.waiting) < _CHUNK * 16 and not pipe.closing:
                data = pipe.source.recv(_CHUNK)
                pipe.waiting += data
                pipe.closing = not data
                self.held_bytes += len(data) if pipe.up in self._held else 0
            if pipe.up in self._held:
                return
            if pipe.waiting:
                pipe.waiting = pipe.waiting[pipe.sink.send(pipe.waiting) :]
            if pipe.closing and not pipe.waiting:
                self._drop(pipe)
        except BlockingIOError:
            return
        except OSError:
            self._drop(pipe)

    def _drop(self, pipe: _Pipe) -> None:
        self._pipes = [p for p in self._pipes if p.source not in (pipe.source, pipe.sink)]
        for end in (pipe.source, pipe.sink):
            end.close()


def _abort(end: socket.socket) -> None:
    """Close with RST instead of FIN."""
    with contextlib.suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    end.close()
