"""Fresh virtual hosts on a RabbitMQ node, through its HTTP API."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx


class VirtualHosts:
    """Makes and deletes virtual hosts on the node of `broker_url`, whose user administers it.

    The HTTP API is at its usual port of the same host unless `api_url` says otherwise.
    """

    def __init__(self, broker_url: str, api_url: str | None = None) -> None:
        self._broker = urlsplit(broker_url)
        login, _, host = self._broker.netloc.rpartition("@")
        base = api_url or f"http://{login}@{host.partition(':')[0]}:15672"
        #: The base URL of the HTTP API, with an administrator's login.
        self.api_url = base
        self._api = httpx.Client(base_url=f"{base}/api/", timeout=30, trust_env=False)

    @contextlib.contextmanager
    def fresh(self) -> Iterator[str]:
        """The URL of an empty virtual host, deleted at the end with everything in it."""
        name = f"colm-test-{secrets.token_hex(6)}"
        everything = {"configure": ".*", "write": ".*", "read": ".*"}
        self._put(f"vhosts/{name}", {})
        try:
            self._put(f"permissions/{name}/{self._broker.username}", everything)
            yield self._broker._replace(path=f"/{name}").geturl()
        finally:
            self._api.delete(f"vhosts/{name}").raise_for_status()

    def connections(self, url: str) -> list[dict[str, Any]]:
        """The connections to the virtual host of `url`, as the HTTP API tells of them."""
        reply = self._api.get(f"vhosts/{urlsplit(url).path.removeprefix('/')}/connections")
        found: list[dict[str, Any]] = reply.raise_for_status().json()
        return found

    def close(self) -> None:
        self._api.close()

    def _put(self, path: str, body: dict[str, str]) -> None:
        self._api.put(path, json=body).raise_for_status()
