"""RabbitMQ's management API, as far as CoLM needs it: users, permissions, and a look around.

No error and no log line shows a login. Some figures of the API are five seconds old; what must be
exact (whether messages wait) is asked over AMQP instead.
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

#: How long the API may take for one answer (seconds).
ANSWER_WITHIN = 20.0


class Refused(ColmError):
    """The management API does not allow what was asked of it."""


class Management:
    """One RabbitMQ's API, seen from one virtual host. Raises Refused and TransientError."""

    def __init__(self, url: str, vhost: str, *, verify: Any = True) -> None:
        parts = urlsplit(url)
        self.vhost = vhost
        self.address = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        login = (unquote(parts.username or ""), unquote(parts.password or ""))
        path = parts.path.rstrip("/").removesuffix("/api")
        self._api = httpx.Client(
            base_url=f"{self.address}{path}/api/",
            auth=login if parts.username else None,
            timeout=ANSWER_WITHIN,
            trust_env=False,
            verify=verify,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._api.close()

    def get(self, *path: str) -> Any:
        """What is at `path`; None where nothing is."""
        reply = self._send("GET", path)
        return None if reply.status_code == httpx.codes.NOT_FOUND else reply.json()

    def check(self, *path: str) -> httpx.Response:
        """The whole answer, where an error is an answer too. Raises TransientError."""
        return self._request("GET", path)

    def put_user(self, user: str, password: str, tag: str) -> None:
        """Make the user, or give it this password and tag."""
        self._send("PUT", ("users", user), {"password": password, "tags": tag})

    def allow(self, user: str, allowed: Permissions) -> None:
        """Give the user these rights in the virtual host, in place of those it had."""
        rights = {"configure": allowed.configure, "write": allowed.write, "read": allowed.read}
        # The keys first: there must be no moment in which it may publish under any.
        for exchange, pattern in allowed.keys.items():
            keys = {"exchange": exchange, "write": pattern, "read": NOTHING}
            self._send("PUT", ("topic-permissions", self.vhost, user), keys)
        self._send("PUT", ("permissions", self.vhost, user), rights)

    def forbid(self, user: str) -> None:
        """Take the user's rights in the virtual host."""
        self._send("DELETE", ("permissions", self.vhost, user))
        self._send("DELETE", ("topic-permissions", self.vhost, user))

    def delete_user(self, user: str) -> None:
        self._send("DELETE", ("users", user))

    def delete_queue(self, queue: str) -> None:
        self._send("DELETE", ("queues", self.vhost, queue))

    def close_connections(self, user: str) -> int:
        """End every connection of the user to the virtual host; how many there were."""
        closed = 0
        for found in self.connections(user):
            self._send("DELETE", ("connections", found["name"]))
            closed += 1
        return closed

    def connections(self, user: str) -> Iterator[Mapping[str, Any]]:
        """The user's connections to the virtual host."""
        for found in self.get("connections", "username", user) or []:
            if found.get("vhost", self.vhost) == self.vhost:
                yield found

    def permissions(self, user: str) -> Permissions | None:
        """What the user may do in the virtual host; None where it may not even connect."""
        found = self.get("permissions", self.vhost, user)
        if found is None:
            return None
        topics = self.get("topic-permissions", self.vhost, user) or []
        return Permissions(
            configure=found["configure"],
            write=found["write"],
            read=found["read"],
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


def management_of(found: Settings, url: str | None = None) -> Management:
    """The API that `url` or the settings name. Raises SettingsError where neither does."""
    if not broker_of(found).management_api:
        raise SettingsError(
            "the embedded broker has no users: whoever can open its socket can do everything. "
            "Set 'broker' to a RabbitMQ"
        )
    url = url or found.management
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
    verify = found.tls.context() if url.startswith("https") else True
    return Management(url, virtual_host(found.broker_url), verify=verify)


def _reason(reply: httpx.Response) -> str:
    try:
        return str(reply.json()["reason"])
    except (ValueError, LookupError, TypeError):
        return reply.reason_phrase
