"""A site whose every process has a user of its own on a real RabbitMQ."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pika

from colm.models.errors import ColmError
from colm.workers.rabbitmq.management_api import Management, virtual_host
from colm.workers.rabbitmq.permissions import of_caller, of_coordinator
from tests.journeys.site import Site
from tests.provision import VirtualHosts

#: The test suite's, and not the site's own.
CALLER, COORDINATOR = "test-caller", "test-coordinator"


class IsolatedSite(Site):
    """`colm.toml` is the coordinators'; each participant and the caller have files of their own."""

    def __init__(self, folder: Path, *, admin: str, database: str, api_url: str) -> None:
        self.api = Management(api_url, virtual_host(admin))
        self.admin = admin
        self.api_url = api_url
        self._suffix = self.api.vhost[-6:]
        super().__init__(folder, broker=self._as(COORDINATOR), database=database)
        self.api.put_user(self._user(COORDINATOR), "coordinators-own", "")
        self.api.allow(self._user(COORDINATOR), of_coordinator())
        self.api.put_user(self._user(CALLER), "callers-own", "")
        self.api.allow(self._user(CALLER), of_caller())

    def _user(self, role: str) -> str:
        return f"{role}-{self._suffix}"

    def _as(self, role: str) -> str:
        password = "coordinators-own" if role == COORDINATOR else "callers-own"
        host = urlsplit(self.admin).netloc.rpartition("@")[2]
        return f"amqp://{self._user(role)}:{password}@{host}/{self.api.vhost}"

    def user(self, name: str) -> str:
        """A participant's user; unique, for users belong to the whole node."""
        return f"colm-{name}-{self._suffix}"

    def add(self, role: str, name: str, *options: str) -> Path:
        """`colm ROLE add NAME`; the settings file that it wrote."""
        path = self.folder / f"{name}.toml"
        self.manage(role, "add", name, "--write", str(path), *options)
        return path

    def manage(self, role: str, what: str, name: str, *options: str, status: int = 0) -> str:
        """`colm ROLE WHAT NAME` for the participant's own user."""
        self.variables["COLM_MANAGEMENT"] = self.api_url
        try:
            return self.colm(role, what, name, "--user", self.user(name), *options, status=status)
        finally:
            del self.variables["COLM_MANAGEMENT"]

    def start_with(self, file: Path, *arguments: str) -> None:
        """Start `colm ARGUMENTS...` with settings from `file` and no database to reach."""
        self.variables["COLM_CONFIG"] = str(file)
        try:
            self.start(*arguments)
        finally:
            del self.variables["COLM_CONFIG"]

    @contextmanager
    def as_caller(self) -> Iterator[None]:
        """Whatever is asked here is asked by a user that may ask, and nothing more."""
        self.variables["COLM_BROKER"] = self._as(CALLER)
        try:
            yield
        finally:
            del self.variables["COLM_BROKER"]

    def close(self) -> None:
        super().close()
        for user in self.api.get("users"):
            if user["name"].endswith(self._suffix):
                with suppress(ColmError):
                    self.api.delete_user(user["name"])
        self.api.__exit__()


def broker_of(file: Path) -> str:
    """The broker's URL in a settings file."""
    return str(tomllib.loads(file.read_text())["broker"])


def connect(url: str) -> pika.BlockingConnection:
    return pika.BlockingConnection(pika.URLParameters(url))


@contextmanager
def isolated_site(
    folder: Path, vhosts: VirtualHosts, admin: str, database: str
) -> Iterator[IsolatedSite]:
    """A site with the clients a and ab and the server main configured, nothing started."""
    site = IsolatedSite(folder, admin=admin, database=database, api_url=vhosts.api_url)
    try:
        site.configure("a", "ab")
        yield site
    finally:
        site.close()


__all__ = ["IsolatedSite", "broker_of", "connect", "isolated_site"]
