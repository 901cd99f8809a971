"""`colm images`: the site's image store over HTTP, for a site of more than one machine.

    PUT /images/<sha256>      store the image in the body; a caller's write token
    POST /images/<sha256>     renew the image's last use; a caller's write token
    GET /images/<sha256>      the image; the read token of a participant's step
    DELETE /images/<sha256>?before=TIME, GET /images/?before=TIME&after=ID
                              delete one, list old ones; an operator's delete token

The token is checked before the body is read, and an image is decoded before it is stored.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Any, ClassVar

from tornado.httpserver import HTTPServer
from tornado.web import Application, HTTPError, RequestHandler, stream_request_body

from colm.models.errors import ImageUnavailable, InvalidAsk, SettingsError
from colm.models.images import Permission, Picture, check_token, examine, image_id_of
from colm.tasks.config.settings import ImageSettings, Settings, settings
from colm.tasks.images.client import secret
from colm.tasks.images.stores import PAGE, SETTLED, FolderStore, ImageStore
from colm.workers.tcp_port import check_port_free

logger = logging.getLogger(__name__)

IMAGE = r"/images/([0-9a-f]{64})"


class Guarded(RequestHandler):
    """Rejects requests without a token. A read token covers one image; others cover all."""

    may: ClassVar[dict[str, Permission]] = {}

    def initialize(self, store: ImageStore, key: bytes, limits: ImageSettings) -> None:
        self._store = store
        self._key = key
        self._limits = limits

    def prepare(self) -> None:
        may = self.may.get(self.request.method or "", "remove")
        scheme, _, token = self.request.headers.get("Authorization", "").partition(" ")
        image_id = self.path_args[0] if may == "read" else None
        try:
            if scheme != "Bearer":
                raise ImageUnavailable("no token was sent")
            check_token(self._key, token, datetime.now(UTC), image_id=image_id, may=may)
        except ImageUnavailable as error:
            raise HTTPError(403, reason=str(error)) from error

    def before(self) -> datetime:
        """The requested time, at most SETTLED before now by this machine's clock."""
        try:
            before = datetime.fromisoformat(self.get_query_argument("before")).astimezone(UTC)
        except (ValueError, OverflowError) as error:
            raise HTTPError(400, reason="before is no time") from error
        return min(before, datetime.now(UTC) - SETTLED)

    def write_error(self, status_code: int, **_: Any) -> None:  # noqa: ARG002 - tornado calls with it
        self.finish(self._reason)


@stream_request_body
class ImageHandler(Guarded):
    """One image."""

    may: ClassVar[dict[str, Permission]] = {"PUT": "write", "POST": "write", "GET": "read"}

    def prepare(self) -> None:
        super().prepare()
        self._body = bytearray()

    def data_received(self, chunk: bytes) -> None:
        self._body += chunk

    async def get(self, image_id: str) -> None:
        try:
            data = await asyncio.to_thread(self._store.get, image_id)
        except ImageUnavailable as error:
            raise HTTPError(404, reason="no such image") from error
        self.set_header("Content-Type", "application/octet-stream")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.finish(data)

    async def put(self, image_id: str) -> None:
        body = bytes(self._body)
        if image_id_of(body) != image_id:
            raise HTTPError(400, reason="the bytes are not those of that name")
        try:
            picture = await asyncio.to_thread(self._examined, body)
        except InvalidAsk as error:
            raise HTTPError(400, reason=_line(error)) from error
        await asyncio.to_thread(self._store.put, picture)
        self.set_status(201)

    async def post(self, image_id: str) -> None:
        try:
            await asyncio.to_thread(self._store.hold, image_id)
        except ImageUnavailable as error:
            raise HTTPError(404, reason="no such image") from error
        self.set_status(204)

    async def delete(self, image_id: str) -> None:
        gone = await asyncio.to_thread(self._store.remove, image_id, self.before())
        self.set_status(204 if gone else 409)

    def _examined(self, data: bytes) -> Picture:
        return examine(data, max_bytes=self._limits.max_bytes, max_pixels=self._limits.max_pixels)


class ListHandler(Guarded):
    """Lists the images last used before a time, one page a request."""

    async def get(self) -> None:
        before, after = self.before(), self.get_query_argument("after", "")
        names = await asyncio.to_thread(lambda: _page(self._store.old(before, after)))
        self.set_header("Content-Type", "text/plain")
        self.finish("\n".join(names))


def _page(names: Iterator[str]) -> list[str]:
    return list(islice(names, PAGE))


def application(store: ImageStore, key: bytes, limits: ImageSettings) -> Application:
    """The store as a tornado application; `key` signs the tokens."""
    arguments = {"store": store, "key": key, "limits": limits}
    routes = [(IMAGE, ImageHandler, arguments), (r"/images/", ListHandler, arguments)]
    return Application(routes, log_function=_log)


def store_of(settings: Settings) -> ImageStore:
    """The store behind this site's image server: a folder, or the database."""
    if settings.images.keep == "folder":
        return FolderStore(settings.home / "images")
    from colm.db.connection import connect
    from colm.db.images import SqlImages

    return SqlImages(connect(settings.database_url, pool_size=4))


def run_image_server(address: str, port: int) -> int:
    """Serve until SIGTERM or Ctrl-C; the exit status."""
    site = settings()
    key = secret(site.images)
    if key is None:
        raise SettingsError(
            "[images] secret_file is not set: write 32 random bytes or more into a file, and name"
            " it in the colm.toml of callers, coordinators and this server"
        )
    check_port_free(address, port)
    app = application(store_of(site), key, site.images)
    asyncio.run(_serve(app, address, port, site.images))
    return 0


async def _serve(app: Application, address: str, port: int, limits: ImageSettings) -> None:
    stop = asyncio.Event()
    for sign in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(sign, stop.set)
    server = HTTPServer(
        app,
        max_buffer_size=limits.max_bytes + 65_536,
        max_body_size=limits.max_bytes,
        body_timeout=60.0,
        idle_connection_timeout=60.0,
    )
    server.listen(port, address)
    logger.info("images at %s:%d, stored in the %s", address, port, limits.keep)
    await stop.wait()
    server.stop()
    await server.close_all_connections()


def _line(error: Exception) -> str:
    """The error as an HTTP reason phrase: one line of ASCII."""
    return str(error).encode("ascii", "replace").decode().replace("\n", " ")[:200]


def _log(handler: RequestHandler) -> None:
    request = handler.request
    logger.debug("%s %s %d", request.method, request.path[:24], handler.get_status())
