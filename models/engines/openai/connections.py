"""How an endpoint is reached, and connections that survive exchanges which do not."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import cache
from typing import TypedDict
from urllib.parse import urlsplit

import httpx

from colm.models.engine_settings import EngineSettings
from colm.models.errors import SettingsError


class Access(TypedDict):
    """Arguments of the HTTP client. None comes from the environment."""

    headers: dict[str, str]
    verify: ssl.SSLContext
    proxy: str | None
    trust_env: bool


def access_to(settings: EngineSettings, api_key: str | None, secrets: Mapping[str, str]) -> Access:
    """How to reach the endpoint; `secrets` are headers beside those that the settings hold.

    Raises SettingsError for a key, a header or a file that cannot be used.
    """
    key = (api_key or "").strip()
    headers = {
        **({"Authorization": f"Bearer {key}"} if key else {}),
        **settings.extra_headers,
        **{name: value.strip() for name, value in secrets.items()},
    }
    for name, value in headers.items():
        if not (value.isascii() and value.isprintable()):
            held = "the endpoint's key" if name == "Authorization" else f"the header {name}"
            raise SettingsError(f"{held} has characters that no HTTP header can carry")
    loopback = is_loopback(endpoint(settings.base_url or "").host)
    return {
        "headers": headers,
        "verify": _authorities(settings.ca_file),
        "proxy": None if loopback else settings.proxy,
        "trust_env": False,
    }


def endpoint(base_url: str, path: str = "/chat/completions") -> httpx.URL:
    """The address of `path` below `base_url`, whose query stays at the end.

    Raises SettingsError for a base_url that cannot be used.
    """
    try:
        parts = urlsplit(base_url.strip())
        base = parts.path.rstrip("/").removesuffix("/chat/completions")
        url = httpx.URL(parts._replace(path=base + path, fragment="").geturl())
    except (ValueError, httpx.InvalidURL):
        # Not its words: they quote a part of the URL, which may be one of a password.
        raise SettingsError("base_url cannot be used: it cannot be read as a URL") from None
    if not url.host:
        raise SettingsError("base_url names no host")
    return url


def is_loopback(host: str) -> bool:
    """Whether the host is this machine, by its name or number."""
    name = host.rstrip(".").lower()
    try:
        number = ipaddress.ip_address(name)
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")
    mapped = getattr(number, "ipv4_mapped", None) or number
    return bool(mapped.is_loopback or mapped.is_unspecified)


@cache
def _authorities(path: str | None) -> ssl.SSLContext:
    """The trusted certificates, read once a process: reading takes longer than a request."""
    if path is None:
        return httpx.create_ssl_context(trust_env=False)
    try:
        return ssl.create_default_context(cafile=path)
    except (OSError, ValueError) as error:  # an SSLError is an OSError
        why = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        raise SettingsError(f"ca_file: {path} cannot be used: {why}") from error


class Connections:
    """HTTP clients for one event loop: one for each exchange that runs, used again and again.

    An exchange that is cut short takes its client along. In a client that exchanges share, httpcore
    1.0.9 never gives back the place of a connection whose exchange is cancelled after it opened and
    before it sent: as many of those as there are places, and nobody is ever served again.
    """

    def __init__(self, opened: Callable[[], httpx.AsyncClient]) -> None:
        self._opened = opened
        self._idle: list[httpx.AsyncClient] = []

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[httpx.AsyncClient]:
        """A client that nobody else uses; closed if the block is left by an exception."""
        client = self._idle.pop() if self._idle else self._opened()
        unharmed = False
        try:
            yield client
            unharmed = True
        finally:
            if unharmed:
                self._idle.append(client)
            else:
                await client.aclose()

    async def aclose(self) -> None:
        """Close those that nobody uses."""
        while self._idle:
            await self._idle.pop().aclose()
