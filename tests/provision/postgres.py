"""A private PostgreSQL server, and fresh databases on it."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Self

import psycopg2

from tests.provision.faults import ServiceBroken, ServiceMissing
from tests.provision.process import Child, free_port

_SUPERUSER = "postgres"


def binaries() -> Path:
    """The folder of the newest installed PostgreSQL. Raises ServiceMissing."""
    debian = Path("/usr/lib/postgresql").glob("*/bin/postgres")
    for postgres in sorted(debian, key=lambda path: int(path.parts[-3]), reverse=True):
        return postgres.parent
    on_path = shutil.which("postgres")
    if on_path is None:
        raise ServiceMissing("PostgreSQL is not installed: run scripts/install-services")
    return Path(on_path).resolve().parent


class PostgresServer:
    """One PostgreSQL server with its own data, on a port that it keeps over restarts.

    `durable=False` turns fsync off: as good as durable while the machine itself stays up, SIGKILL
    of the server included, and much faster. `parent` is where its folder is made.
    """

    def __init__(self, *, durable: bool = False, parent: Path | None = None) -> None:
        self._bin = binaries()
        self._durable = durable
        self._account = unprivileged_account()
        self._folder = _folder_that_others_can_enter(parent)
        self._data = self._folder / "data"
        self._password = secrets.token_hex(8)
        self._child: Child | None = None
        self.port = free_port()

    @property
    def url(self) -> str:
        """The superuser's SQLAlchemy URL of the database `postgres`."""
        login = f"{_SUPERUSER}:{self._password}"
        return f"postgresql+psycopg2://{login}@127.0.0.1:{self.port}/postgres"

    @property
    def processes(self) -> list[int]:
        """Every process of the server; empty while it is stopped."""
        return self._child.family if self._child else []

    @property
    def alive(self) -> bool:
        return self._child is not None and self._child.alive

    @property
    def log(self) -> str:
        """What the server has told so far."""
        return (self._folder / "log").read_text(errors="replace")

    def start(self) -> Self:
        """Start on the same data and port as before; on new data the first time."""
        if not self._data.exists():
            self._make_cluster()
        settings = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "max_connections": 200,
            "fsync": "on" if self._durable else "off",
            "full_page_writes": "on" if self._durable else "off",
            "synchronous_commit": "on" if self._durable else "off",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        user, group = self._account or (None, None)
        self._child = Child(
            [self._bin / "postgres", "-D", self._data, *options],
            log=self._folder / "log",
            user=user,
            group=group,
        )
        try:
            self._child.wait_until(self._accepts, timeout=60)
        except BaseException:
            self.kill()
            raise
        return self

    def stop(self) -> None:
        """Shut down cleanly, breaking off open connections."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """End the server and its backends as a crash would."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        self.stop()
        self.start()

    def close(self) -> None:
        """Stop for good and remove the data. Harmless when repeated."""
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def _make_cluster(self) -> None:
        secret = self._folder / "password"
        secret.write_text(self._password)
        if self._account is not None:
            shutil.chown(secret, *self._account)
        user, group = self._account or (None, None)
        done = subprocess.run(
            [
                *(self._bin / "initdb", "-D", self._data, "-U", _SUPERUSER, "--pwfile", secret),
                *("--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"),
            ],
            cwd=self._folder,
            user=user,
            group=group,
            extra_groups=[] if user else None,
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            raise ServiceBroken(f"initdb failed:\n{done.stdout}{done.stderr}")
        secret.unlink()

    def _accepts(self) -> bool:
        try:
            psycopg2.connect(plain(self.url), connect_timeout=5).close()
        except psycopg2.OperationalError:
            return False
        return True

    def _end(self, sign: signal.Signals) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.end(sign, timeout=30)


def plain(url: str) -> str:
    """A SQLAlchemy URL as libpq reads it."""
    return url.replace("postgresql+psycopg2://", "postgresql://", 1)


def unprivileged_account() -> tuple[str, int] | None:
    """Who runs the server when we are root, whom PostgreSQL refuses; None: we do."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            account = pwd.getpwnam(name)
        except KeyError:
            continue
        return name, account.pw_gid
    raise ServiceBroken("PostgreSQL refuses root, and there is no user postgres or nobody")


def _folder_that_others_can_enter(wanted: Path | None) -> Path:
    """A new temporary folder. Under root it belongs to the account that runs the server."""
    account = unprivileged_account()
    for parent in [str(wanted)] if wanted else [tempfile.gettempdir(), "/tmp", "/var/tmp"]:
        ancestors = [Path(parent).resolve(), *Path(parent).resolve().parents]
        if account is None or all(path.stat().st_mode & 0o001 for path in ancestors):
            folder = Path(tempfile.mkdtemp(prefix="colm-postgres-", dir=parent))
            if account is not None:
                shutil.chown(folder, *account)
            return folder
    raise ServiceBroken("no temporary folder that an unprivileged user can enter; set TMPDIR")
