"""`colm images`: the site's image store over HTTP, for a site of more than one machine.

    PUT /images/<sha256>   a caller, with a token that may write; the body is the image
    POST /images/<sha256>  a caller that asks about one that is there: it is held
    GET /images/<sha256>   a participant, with the token that came with its step
    DELETE /images/<sha256>?before=TIME and GET /images/?before=TIME&after=ID
                           an operator, with a token that may remove

Whoever sends a body has to prove first that it may: until then nothing of the body is kept. What
it sends is decoded before it is stored.
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
from colm.workers.ports import check_free

logger = logging.getLogger(__name__)

IMAGE = r"/images/([0-9a-f]{64})"


class Guarded(RequestHandler):
    """Hears nobody without a token. A token for fetching is for one image, the others for any."""

    may: ClassVar[dict[str, Permission]] = {}

    def initialize(self, store: ImageStore, key: bytes, limits: ImageSettings) -> None:
        self._store = store
        self._key = key
        self._limits = limits

    def prepare(self) -> None:
        may = self.may.get(self.request.method or "", "remove")
        scheme, _, token = self.request.headers.get("Authorization", "").partition(" ")
        wanted = self.path_args[0] if may == "read" else None
        try:
            if scheme != "Bearer":
                raise ImageUnavailable("no token was sent")
            check_token(self._key, token, datetime.now(UTC), image_id=wanted, may=may)
        except ImageUnavailable as error:
            raise HTTPError(403, reason=str(error)) from error

    def before(self) -> datetime:
        """What is asked for, and by this machine's clock never later than what has settled."""
        try:
            asked = datetime.fromisoformat(self.get_query_argument("before")).astimezone(UTC)
        except (ValueError, OverflowError) as error:
            raise HTTPError(400, reason="before is no time") from error
        return min(asked, datetime.now(UTC) - SETTLED)

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
    """Which images were last put or held before a time, a page at once."""

    async def get(self) -> None:
        before, after = self.before(), self.get_query_argument("after", "")
        names = await asyncio.to_thread(lambda: _page(self._store.old(before, after)))
        self.set_header("Content-Type", "text/plain")
        self.finish("\n".join(names))


def _page(names: Iterator[str]) -> list[str]:
    return list(islice(names, PAGE))


def application(store: ImageStore, key: bytes, limits: ImageSettings) -> Application:
    """The store over HTTP; tokens are those signed with `key`."""
    given = {"store": store, "key": key, "limits": limits}
    routes = [(IMAGE, ImageHandler, given), (r"/images/", ListHandler, given)]
    return Application(routes, log_function=_log)


def keeper(found: Settings) -> ImageStore:
    """Where this site's image server keeps what it is given."""
    if found.images.keep == "folder":
        return FolderStore(found.home / "images")
    from colm.db.connection import connect
    from colm.db.images import SqlImages

    return SqlImages(connect(found.database_url, pool_size=4))


def run_image_server(address: str, port: int) -> int:
    """Serve until SIGTERM or Ctrl-C; the exit status."""
    found = settings()
    key = secret(found.images)
    if key is None:
        raise SettingsError(
            "[images] secret_file is not set: write 32 random bytes or more into a file, and name"
            " it in the colm.toml of callers, coordinators and this server"
        )
    check_free(address, port)
    asyncio.run(_serve(application(keeper(found), key, found.images), address, port, found))
    return 0


async def _serve(app: Application, address: str, port: int, found: Settings) -> None:
    stop = asyncio.Event()
    for sign in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(sign, stop.set)
    server = HTTPServer(
        app,
        max_buffer_size=found.images.max_bytes + 65_536,
        max_body_size=found.images.max_bytes,
        body_timeout=60.0,
        idle_connection_timeout=60.0,
    )
    server.listen(port, address)
    logger.info("images at %s:%d, kept in the %s", address, port, found.images.keep)
    await stop.wait()
    server.stop()
    await server.close_all_connections()


def _line(error: Exception) -> str:
    """As a reason phrase, which is one line of ASCII."""
    return str(error).encode("ascii", "replace").decode().replace("\n", " ")[:200]


def _log(handler: RequestHandler) -> None:
    request = handler.request
    logger.debug("%s %s %d", request.method, request.path[:24], handler.get_status())
