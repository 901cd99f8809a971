"""Blocking calls with a time limit, on daemon threads.

Neither a database driver nor an AMQP library gives up on a host that accepts bytes and sends no
reply.
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

#: Idle time after which a thread ends (seconds).
IDLE_S = 30.0
#: Duration after which a call counts as stuck, far above that of any normal call (seconds).
STUCK_S = 30.0

_ALL: WeakSet[BoundedCaller] = WeakSet()


class BoundedCaller:
    """Runs at most `threads` calls at once, on threads that do not keep a process alive."""

    def __init__(
        self, name: str, threads: int = 1, *, unstick: Callable[[], None] = lambda: None
    ) -> None:
        """`unstick` is called when a call is stuck, to abort it."""
        self._name = name
        self._most = threads
        self._unstick = unstick
        self.reset()
        _ALL.add(self)

    def reset(self) -> None:
        """Forget all threads: a forked child has none."""
        self._lock = threading.Lock()
        self._calls: SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = SimpleQueue()
        self._running = 0
        self._idle = 0
        self._shared: Future[Any] | None = None
        #: Start of each call in progress, by thread.
        self._since: dict[int, float] = {}

    def call(self, work: Callable[[], R], timeout: float) -> R:
        """The result of `work`. Raises its error, or TransientError after `timeout` seconds."""
        return self._result(self._start(work), timeout)

    def share(self, work: Callable[[], R], timeout: float) -> R:
        """Like `call`; callers that come while the call is in progress get its result."""
        future: Future[R] | None = self._shared
        if future is None or future.done():
            future = self._shared = self._start(work)
        return self._result(future, timeout)

    def _start(self, work: Callable[[], R]) -> Future[R]:
        future: Future[R] = Future()
        self._calls.put((work, future))
        with self._lock:
            if self._idle < self._calls.qsize() and self._running < self._most:
                self._running += 1
                threading.Thread(target=self._run, name=self._name, daemon=True).start()
        return future

    def _result(self, future: Future[R], timeout: float) -> R:
        try:
            return future.result(timeout)
        except FutureTimeoutError:
            if future.done():  # `work` raised a timeout itself, or has just ended
                return future.result()
            if any(since < time.monotonic() - STUCK_S for since in list(self._since.values())):
                self._unstick()
            raise TransientError(f"{self._name}: no reply within {timeout:.0f} s") from None

    def _run(self) -> None:
        while (call := self._next()) is not None:
            work, future = call
            if not future.set_running_or_notify_cancel():
                continue
            self._since[threading.get_ident()] = time.monotonic()
            try:
                future.set_result(work())
            except BaseException as error:  # noqa: BLE001  # raised in the caller's thread
                future.set_exception(error)
            del self._since[threading.get_ident()]
            del call, work, future  # so that an idle thread holds no result

    def _next(self) -> tuple[Callable[[], Any], Future[Any]] | None:
        with self._lock:
            self._idle += 1
        try:
            return self._calls.get(timeout=IDLE_S)
        except Empty:
            with self._lock:
                self._running -= 1
            return None
        finally:
            with self._lock:
                self._idle -= 1


def _reset_all() -> None:
    for caller in list(_ALL):
        caller.reset()


os.register_at_fork(after_in_child=_reset_all)
