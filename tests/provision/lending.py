"""One PostgreSQL and one RabbitMQ for all processes of a test run."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from multiprocessing.connection import Client, Listener
from pathlib import Path
from threading import Thread
from typing import NamedTuple, Self

from tests.provision.faults import ServiceBroken, ServiceMissing
from tests.provision.postgres import PostgresServer
from tests.provision.rabbitmq import RabbitMQServer


class Lent(NamedTuple):
    """A running server that is not to be stopped: others use it."""

    url: str
    #: The base URL of RabbitMQ's HTTP API; empty for PostgreSQL.
    api_url: str = ""


@contextlib.contextmanager
def _postgres() -> Iterator[Lent]:
    with PostgresServer() as server:
        yield Lent(server.url)


@contextlib.contextmanager
def _rabbitmq() -> Iterator[Lent]:
    with RabbitMQServer() as server:
        yield Lent(server.url, server.api_url)


_KINDS = {"postgres": _postgres, "rabbitmq": _rabbitmq}
_NOTHING = ""


class Lender:
    """Lends one server of each kind, started when it is first asked for, from entry to exit."""

    def __init__(self) -> None:
        self._scratch = tempfile.TemporaryDirectory(prefix="colm-")
        self.folder = Path(self._scratch.name)
        self.address = str(self.folder / "lender")

    def __enter__(self) -> Self:
        self._listener = Listener(self.address, "AF_UNIX", backlog=64)
        # The servers end with the thread that starts them, so one thread does it to the end.
        self._thread = Thread(target=self._lend, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with Client(self.address) as asking:
            asking.send(_NOTHING)
        self._thread.join()
        self._scratch.cleanup()

    def _lend(self) -> None:
        with self._listener, ExitStack() as running:
            found: dict[str, Lent | ServiceBroken | ServiceMissing] = {}
            while True:
                # Who asks may be killed at any time.
                with self._listener.accept() as asked, contextlib.suppress(EOFError, OSError):
                    kind = asked.recv()
                    if kind == _NOTHING:
                        return
                    if kind not in found:
                        found[kind] = _started(kind, running)
                    asked.send(found[kind])


def _started(kind: str, running: ExitStack) -> Lent | ServiceBroken | ServiceMissing:
    try:
        return running.enter_context(_KINDS[kind]())
    except (ServiceBroken, ServiceMissing) as error:
        return error


@contextlib.contextmanager
def lent(kind: str, lender: str | None) -> Iterator[Lent]:
    """The "postgres" or "rabbitmq" of the Lender at that address; without one, a server of our own.

    Raises ServiceBroken, ServiceMissing.
    """
    if lender is None:
        with _KINDS[kind]() as own:
            yield own
        return
    with Client(lender) as asking:
        asking.send(kind)
        found = asking.recv()
    if not isinstance(found, Lent):
        raise found
    yield found
