"""A private RabbitMQ node."""

from __future__ import annotations

import json
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Self

from tests.provision.faults import ServiceBroken, ServiceMissing
from tests.provision.process import Child, free_port

_USER = "admin"


def programs() -> tuple[Path, Path]:
    """The newest installed rabbitmq-server script, and epmd. Raises ServiceMissing.

    The script itself: the `rabbitmq-server` on Debian's PATH switches to a system user and folder.
    """
    scripts = Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*/sbin/rabbitmq-server")
    newest = max(scripts, key=_version, default=None)
    epmd = shutil.which("epmd")
    if newest is None or epmd is None:
        raise ServiceMissing("RabbitMQ is not installed: run scripts/install-services")
    return newest, Path(epmd)


def _version(script: Path) -> list[int]:
    return [int(part) for part in script.parts[-3].removeprefix("rabbitmq_server-").split(".")]


class RabbitMQServer:
    """One RabbitMQ node with its own data, on ports that it keeps over restarts.

    `management` adds the HTTP API, which makes virtual hosts and shows depths. `config` is further
    text in the format of rabbitmq.conf.
    """

    def __init__(self, *, management: bool = True, config: str = "") -> None:
        self._script, self._epmd_program = programs()
        self._management = management
        self._config = config
        self._password = secrets.token_hex(8)
        self._folder = Path(tempfile.mkdtemp(prefix="colm-rabbitmq-"))
        self._epmd_port, self._distribution_port = free_port(), free_port()
        self._node: Child | None = None
        self._epmd: Child | None = None
        self.port = free_port()
        self.management_port = free_port()
        self._write_files()

    @property
    def url(self) -> str:
        """The administrator's URL of the virtual host "/"."""
        return f"amqp://{_USER}:{self._password}@127.0.0.1:{self.port}/%2F"

    @property
    def api_url(self) -> str:
        """The base URL of the HTTP API, with the administrator's login."""
        return f"http://{_USER}:{self._password}@127.0.0.1:{self.management_port}"

    @property
    def processes(self) -> list[int]:
        """Every process of the node, its epmd included; empty while it is stopped."""
        return [pid for child in (self._node, self._epmd) if child for pid in child.family]

    def start(self) -> Self:
        """Start on the same data and ports as before, and return when clients are accepted."""
        # Our own epmd: the node would start one that outlives it and is shared by all of the host.
        self._epmd = Child(
            [self._epmd_program, "-address", "127.0.0.1", "-port", str(self._epmd_port)],
            log=self._folder / "epmd.log",
            env=self._environment(),
        )
        try:
            self._epmd.wait_until(lambda: listens(self._epmd_port), timeout=10)
            self._node = Child([self._script], log=self._folder / "log", env=self._environment())
            self._node.wait_until(self._accepts, timeout=120)
        except BaseException:
            self.kill()
            raise
        return self

    def stop(self) -> None:
        """Shut the node down cleanly."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the node as a crash would.

        The node writes its list of quorum queues half a second late: such a queue, declared just
        before, never comes up again. Messages in older ones are safe from their confirm on.
        """
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        self.stop()
        self.start()

    def ctl(self, *arguments: str) -> str:
        """What `rabbitmqctl` prints for the running node. Raises ServiceBroken."""
        node = self._environment()["RABBITMQ_NODENAME"]
        done = subprocess.run(
            [self._script.with_name("rabbitmqctl"), "--node", node, "--quiet", *arguments],
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=60,
        )
        if done.returncode != 0:
            raise ServiceBroken(f"rabbitmqctl {arguments[0]} failed:\n{done.stdout}{done.stderr}")
        return done.stdout

    def close(self) -> None:
        """Stop for good and remove the data. Harmless when repeated."""
        try:
            self.kill()  # a clean shutdown takes seconds and saves what is removed here
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def _environment(self) -> dict[str, str]:
        """Everything that the node reads, so that nothing of the machine's own node leaks in."""
        home = self._folder
        return {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(home),  # where the Erlang cookie is kept
            "LANG": "C.UTF-8",
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"colm{self.port}@localhost",
            "RABBITMQ_DIST_PORT": str(self._distribution_port),
            "RABBITMQ_CONF_ENV_FILE": str(home / "env.conf"),
            "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(home / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(home / "data"),
            "RABBITMQ_LOG_BASE": str(home),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_PID_FILE": str(home / "pid"),
            # Makes the script become the node instead of watching over it as a second process.
            "RUNNING_UNDER_SYSTEMD": "true",
        }

    def _write_files(self) -> None:
        definitions = self._folder / "definitions.json"
        definitions.write_text(json.dumps(self._definitions()))
        (self._folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self.port}\n"
            # Loaded before the port opens: whoever can connect can also log in.
            f"load_definitions = {definitions}\n"
            "log.console.level = warning\n"
            "disk_free_limit.absolute = 50MB\n"
            "raft.wal_max_size_bytes = 67108864\n"
            + (self._management_config() if self._management else "")
            + self._config
        )
        plugins = "rabbitmq_management" if self._management else ""
        (self._folder / "enabled_plugins").write_text(f"[{plugins}].\n")
        (self._folder / "env.conf").touch()

    def _management_config(self) -> str:
        return f"management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {self.management_port}\n"

    def _definitions(self) -> dict[str, object]:
        everything = {"configure": ".*", "write": ".*", "read": ".*"}
        return {
            "vhosts": [{"name": "/"}],
            "users": [{"name": _USER, "password": self._password, "tags": "administrator"}],
            "permissions": [{"user": _USER, "vhost": "/", **everything}],
        }

    def _accepts(self) -> bool:
        ports = [self.port, *([self.management_port] if self._management else [])]
        return all(map(listens, ports))

    def _end(self, sign: signal.Signals) -> None:
        node, self._node = self._node, None
        epmd, self._epmd = self._epmd, None
        try:
            if node is not None:
                node.end(sign, timeout=30)
        finally:
            if epmd is not None:
                epmd.end(signal.SIGKILL, timeout=10)


def listens(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            return True
    except OSError:
        return False
