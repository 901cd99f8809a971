"""Client of RabbitMQ's management API: users, permissions, queues and connections.

No error and no log line shows a login. The API's statistics are up to five seconds old; exact
message counts come over AMQP instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Self
from urllib.parse import quote, unquote, urlsplit

import httpx

from colm.models.errors import ColmError, SettingsError, TransientError
from colm.models.urls import check_http
from colm.tasks.broker.capabilities import broker_of
from colm.tasks.config.settings import Settings
from colm.workers.rabbitmq.permissions import NOTHING, Permissions

#: Timeout of a request (seconds).
REQUEST_TIMEOUT = 20.0


class Refused(ColmError):
    """The management API refused a request."""


class Management:
    """The API for one virtual host. Methods raise Refused and TransientError."""

    def __init__(self, url: str, vhost: str, *, verify: Any = True) -> None:
        parts = urlsplit(url)
        self.vhost = vhost
        self.address = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        login = (unquote(parts.username or ""), unquote(parts.password or ""))
        path = parts.path.rstrip("/").removesuffix("/api")
        self._api = httpx.Client(
            base_url=f"{self.address}{path}/api/",
            auth=login if parts.username else None,
            timeout=REQUEST_TIMEOUT,
            trust_env=False,
            verify=verify,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._api.close()

    def get(self, *path: str) -> Any:
        """The JSON at `path`; None if there is none."""
        reply = self._send("GET", path)
        return None if reply.status_code == httpx.codes.NOT_FOUND else reply.json()

    def check(self, *path: str) -> httpx.Response:
        """The response, whatever its status. Raises TransientError."""
        return self._request("GET", path)

    def put_user(self, user: str, password: str, tag: str) -> None:
        """Create the user, or set its password and tag."""
        self._send("PUT", ("users", user), {"password": password, "tags": tag})

    def allow(self, user: str, allowed: Permissions) -> None:
        """Set the user's permissions in the virtual host."""
        rights = {"configure": allowed.configure, "write": allowed.write, "read": allowed.read}
        # Topic permissions first: without them the user could publish under any key for a moment.
        for exchange, pattern in allowed.keys.items():
            keys = {"exchange": exchange, "write": pattern, "read": NOTHING}
            self._send("PUT", ("topic-permissions", self.vhost, user), keys)
        self._send("PUT", ("permissions", self.vhost, user), rights)

    def forbid(self, user: str) -> None:
        """Remove the user's permissions in the virtual host."""
        self._send("DELETE", ("permissions", self.vhost, user))
        self._send("DELETE", ("topic-permissions", self.vhost, user))

    def delete_user(self, user: str) -> None:
        self._send("DELETE", ("users", user))

    def delete_queue(self, queue: str) -> None:
        self._send("DELETE", ("queues", self.vhost, queue))

    def close_connections(self, user: str) -> int:
        """Close the user's connections to the virtual host; their number."""
        connections = list(self.connections(user))
        for connection in connections:
            self._send("DELETE", ("connections", connection["name"]))
        return len(connections)

    def connections(self, user: str) -> Iterator[Mapping[str, Any]]:
        """The user's connections to the virtual host."""
        for connection in self.get("connections", "username", user) or []:
            if connection.get("vhost", self.vhost) == self.vhost:
                yield connection

    def permissions(self, user: str) -> Permissions | None:
        """The user's permissions in the virtual host; None if it may not connect."""
        row = self.get("permissions", self.vhost, user)
        if row is None:
            return None
        topics = self.get("topic-permissions", self.vhost, user) or []
        return Permissions(
            configure=row["configure"],
            write=row["write"],
            read=row["read"],
            keys={topic["exchange"]: topic["write"] for topic in topics},
        )

    def _send(
        self, method: str, path: tuple[str, ...], body: Mapping[str, Any] | None = None
    ) -> httpx.Response:
        reply = self._request(method, path, body)
        if reply.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            raise Refused(
                f"RabbitMQ's management API at {self.address} refuses {method} {path[0]}: the "
                "login in 'management' needs the tag 'administrator'"
            )
        if reply.is_error and reply.status_code != httpx.codes.NOT_FOUND:
            raise Refused(
                f"RabbitMQ's management API answers {method} {path[0]} with "
                f"{reply.status_code}: {_reason(reply)}"
            )
        return reply

    def _request(
        self, method: str, path: tuple[str, ...], body: Mapping[str, Any] | None = None
    ) -> httpx.Response:
        where = "/".join(quote(part, safe="") for part in path)
        try:
            return self._api.request(method, where, json=body)
        except httpx.HTTPError as error:
            why = str(error) or type(error).__name__
            raise TransientError(
                f"RabbitMQ's management API at {self.address} cannot be reached: {why}; is the "
                "plugin rabbitmq_management enabled, and is this its address?"
            ) from error


def virtual_host(broker_url: str) -> str:
    """The virtual host of an AMQP URL."""
    return unquote(urlsplit(broker_url).path[1:]) or "/"


def management_of(site: Settings, url: str | None = None) -> Management:
    """The API at `url`, by default that of the settings. Raises SettingsError."""
    if not broker_of(site).management_api:
        raise SettingsError(
            "the embedded broker has no users: access to its socket is access to everything. "
            "Set 'broker' to a RabbitMQ"
        )
    url = url or site.management
    if url is None:
        raise SettingsError(
            "this needs RabbitMQ's management API: set COLM_MANAGEMENT="
            "http://USER:PASSWORD@HOST:15672 to a user with the tag 'administrator'"
        )
    if not url.startswith(("http://", "https://")):
        raise SettingsError("the management API's address begins with http:// or https://")
    try:
        check_http(url)
    except ValueError as error:
        raise SettingsError(f"the management API's address: {error}") from None
    verify = site.tls.context() if url.startswith("https") else True
    return Management(url, virtual_host(site.broker_url), verify=verify)


def _reason(reply: httpx.Response) -> str:
    try:
        return str(reply.json()["reason"])
    except (ValueError, LookupError, TypeError):
        return reply.reason_phrase
