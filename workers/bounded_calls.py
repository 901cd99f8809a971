"""Calls that a caller waits for no longer than it wants to, whatever they wait for themselves.

Neither a database driver nor a broker's gives up on a host that takes bytes and answers nothing.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from queue import Empty, SimpleQueue
from typing import Any, TypeVar
from weakref import WeakSet

from colm.models.errors import TransientError

R = TypeVar("R")

#: How long a thread waits for its next call before it ends (seconds).
IDLE_S = 30.0
#: How long a call takes that is taken for stuck; far above what any of ours does (seconds).
STUCK_S = 30.0

_ALL: WeakSet[BoundedCaller] = WeakSet()


class BoundedCaller:
    """At most `threads` calls at once, on threads that keep no process from ending."""

    def __init__(
        self, name: str, threads: int = 1, *, unstick: Callable[[], None] = lambda: None
    ) -> None:
        """`unstick` frees calls that go on and on, if anything can."""
        self._name = name
        self._most = threads
        self._unstick = unstick
        self.start_anew()
        _ALL.add(self)

    def start_anew(self) -> None:
        """In a forked child there are no threads."""
        self._lock = threading.Lock()
        self._orders: SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = SimpleQueue()
        self._running = 0
        self._waiting = 0
        self._shared: Future[Any] | None = None
        #: When each call that is under way began, by its thread.
        self._since: dict[int, float] = {}

    def call(self, work: Callable[[], R], within: float) -> R:
        """What `work` returns or raises; TransientError where that takes longer than `within`."""
        return self._result(self._start(work), within)

    def share(self, work: Callable[[], R], within: float) -> R:
        """The same, but that callers who come while it is under way share the one call."""
        order: Future[R] | None = self._shared
        if order is None or order.done():
            order = self._shared = self._start(work)
        return self._result(order, within)

    def _start(self, work: Callable[[], R]) -> Future[R]:
        order: Future[R] = Future()
        self._orders.put((work, order))
        with self._lock:
            if self._waiting < self._orders.qsize() and self._running < self._most:
                self._running += 1
                threading.Thread(target=self._work, name=self._name, daemon=True).start()
        return order

    def _result(self, order: Future[R], within: float) -> R:
        try:
            return order.result(within)
        except FutureTimeoutError:
            if order.done():  # it raised a timeout of its own, or was done just now
                return order.result()
            if any(since < time.monotonic() - STUCK_S for since in list(self._since.values())):
                self._unstick()
            raise TransientError(f"{self._name}: no reply within {within:.0f} s") from None

    def _work(self) -> None:
        while (found := self._next()) is not None:
            work, order = found
            if not order.set_running_or_notify_cancel():
                continue
            self._since[threading.get_ident()] = time.monotonic()
            try:
                order.set_result(work())
            except BaseException as error:  # noqa: BLE001  # it is raised where it is waited for
                order.set_exception(error)
            del self._since[threading.get_ident()]
            del found, work, order  # while this waits for the next

    def _next(self) -> tuple[Callable[[], Any], Future[Any]] | None:
        with self._lock:
            self._waiting += 1
        try:
            return self._orders.get(timeout=IDLE_S)
        except Empty:
            with self._lock:
                self._running -= 1
            return None
        finally:
            with self._lock:
                self._waiting -= 1


def _start_anew() -> None:
    for bounded in list(_ALL):
        bounded.start_anew()


os.register_at_fork(after_in_child=_start_anew)
