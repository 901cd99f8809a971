"""A private PgBouncer before a PostgreSQL server."""

from __future__ import annotations

import shutil
import signal
import tempfile
from pathlib import Path
from typing import Self

from sqlalchemy import make_url

from tests.provision.faults import ServiceMissing
from tests.provision.postgres import unprivileged_account
from tests.provision.process import Child, free_port
from tests.provision.rabbitmq import listens


def program() -> Path:
    """Raises ServiceMissing."""
    found = shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    if found is None:
        raise ServiceMissing("PgBouncer is not installed: run scripts/install-services")
    return Path(found)


class PgBouncer:
    """Pools the connections to the server of `url`; `mode` is PgBouncer's pool_mode.

    `config` is further lines of its file. Everything else is as it is installed.
    """

    def __init__(self, url: str, mode: str, *, config: str = "") -> None:
        self._target = make_url(url)
        self._mode, self._config = mode, config
        self._folder = Path(tempfile.mkdtemp(prefix="colm-pgbouncer-"))
        self.port = free_port()

    @property
    def url(self) -> str:
        target = self._target.set(host="127.0.0.1", port=self.port)
        return target.render_as_string(hide_password=False)

    def __enter__(self) -> Self:
        target = self._target
        users = self._folder / "users"
        users.write_text(f'"{target.username}" "{target.password}"\n')
        file = self._folder / "pgbouncer.ini"
        file.write_text(
            f"[databases]\n* = host=127.0.0.1 port={target.port}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {self.port}\n"
            f"unix_socket_dir =\nauth_type = scram-sha-256\nauth_file = {users}\n"
            f"pool_mode = {self._mode}\n{self._config}"
        )
        account = unprivileged_account()
        if account is not None:
            for path in (self._folder, users, file):
                shutil.chown(path, *account)
        user, group = account or (None, None)
        log = self._folder / "log"
        self._child = Child([program(), "-q", file], log=log, user=user, group=group)
        self._child.wait_until(lambda: listens(self.port), timeout=20)
        return self

    def __exit__(self, *_: object) -> None:
        self._child.end(signal.SIGKILL, timeout=10)
        shutil.rmtree(self._folder, ignore_errors=True)
