"""The site's image store, as callers, coordinators and participants reach it.

On one machine it is a folder in the stack's home. Elsewhere it is `colm images`, over HTTP: callers
put images there, and a participant fetches the images of a step with the token that came with it.
Nothing but their names travels through the broker.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import httpx
from pydantic import TypeAdapter, ValidationError

from models.errors import ImageUnavailable, InvalidAsk, SettingsError, TransientError
from models.images import Picture, examine, image_id_of, sign
from models.messages import ImageId
from tasks.settings import ImageSettings, Settings, settings

#: How long a caller has to put what it asks about (seconds).
WRITE_WITHIN = timedelta(minutes=10)
#: Seconds for one image, there or back.
TIMEOUT = 60.0

_IMAGE_ID: TypeAdapter[str] = TypeAdapter(ImageId)


class ImageStore(Protocol):
    """Keeps images by the sha256 of their bytes. What is kept twice is kept once."""

    def put(self, picture: Picture) -> None: ...

    def get(self, image_id: str, token: str = "") -> bytes:
        """Raises ImageUnavailable, or TransientError when the store cannot be reached."""


@dataclass(frozen=True)
class FolderStore:
    """A folder on this machine."""

    folder: Path

    def put(self, picture: Picture) -> None:
        path = self._path(picture.image_id)
        if path.exists():
            return
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        with unfinished.open("wb") as file:
            file.write(picture.data)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)

    def get(self, image_id: str, token: str = "") -> bytes:  # noqa: ARG002 - a store's signature
        try:
            return checked(image_id, self._path(image_id).read_bytes())
        except FileNotFoundError as error:
            raise ImageUnavailable(f"image {image_id[:12]} is not in {self.folder}") from error

    def _path(self, image_id: str) -> Path:
        name = _IMAGE_ID.validate_python(image_id)  # it becomes a path
        return self.folder / name[:2] / name


@dataclass(frozen=True)
class HttpStore:
    """`colm images`."""

    url: str
    secret: bytes | None

    def put(self, picture: Picture) -> None:
        if self.secret is None:
            raise SettingsError(
                "images.secret_file is not set or cannot be read: who asks about images has to have"
                " the site's secret"
            )
        token = sign(self.secret, (), datetime.now(UTC) + WRITE_WITHIN, "write")
        answer = self._ask("PUT", picture.image_id, token, content=picture.data)
        if answer.status_code not in (200, 201):
            raise InvalidAsk(f"the image store refuses the image: {_said(answer)}")

    def get(self, image_id: str, token: str = "") -> bytes:
        answer = self._ask("GET", image_id, token)
        if answer.status_code != 200:
            raise ImageUnavailable(f"image {image_id[:12]}: {_said(answer)}")
        return checked(image_id, answer.content)

    def _ask(self, method: str, image_id: str, token: str, **body: Any) -> httpx.Response:
        try:
            answer = httpx.request(
                method,
                f"{self.url.rstrip('/')}/images/{image_id}",
                headers={"Authorization": f"Bearer {token}"},
                timeout=TIMEOUT,
                **body,
            )
        except httpx.HTTPError as error:
            raise TransientError(
                f"the image store {self.url} cannot be reached: {error!r}"
            ) from error
        if answer.status_code >= 500:
            raise TransientError(f"the image store {self.url} fails: {_said(answer)}")
        return answer


def store(found: Settings | None = None) -> ImageStore:
    """The store of this process's settings, or of `found`."""
    found = found or settings()
    if found.images.url is None:
        return FolderStore(found.home / "images")
    return HttpStore(found.images.url, secret(found.images, needed=False))


def keep(given: Sequence[str | Path | bytes]) -> tuple[str, ...]:
    """Put what a caller asks about into the store; their ids. Raises InvalidAsk.

    Each is a path, the bytes themselves, or `sha256:ID` or a URL of our store for one that is there
    already.
    """
    return tuple(_kept(one) for one in given)


def fetch(image_ids: Iterable[str], token: str) -> dict[str, bytes]:
    """The bytes of each. Raises ImageUnavailable or TransientError."""
    where = store()
    return {image_id: where.get(image_id, token) for image_id in image_ids}


def read_token(image_ids: Iterable[str], until: datetime) -> str:
    """What lets a participant fetch these until then; empty where the store is a folder."""
    if settings().images.url is None:
        return ""
    key = secret(settings().images)
    if key is None:
        raise SettingsError("images.url is set and images.secret_file is not: tokens need it")
    return sign(key, sorted(set(image_ids)), until)


def checked(image_id: str, data: bytes) -> bytes:
    """`data`, which must be what its name says; ImageUnavailable if not."""
    if image_id_of(data) != image_id:
        raise ImageUnavailable(f"image {image_id[:12]} was changed in the store")
    return data


def secret(found: ImageSettings, *, needed: bool = True) -> bytes | None:
    """What tokens are signed with. SettingsError if it is needed and not there."""
    return _secret(found.secret_file, needed)


@cache
def _secret(path: str | None, needed: bool) -> bytes | None:
    try:
        key = Path(path).expanduser().read_bytes() if path else b""
    except OSError as error:
        if not needed:  # a participant has its tokens from the coordinators
            return None
        raise SettingsError(f"images.secret_file {path} cannot be read: {error}") from error
    if path and len(key) < 32:
        raise SettingsError(f"images.secret_file {path} holds {len(key)} bytes; 32 are the least")
    return key or None


def _kept(given: str | Path | bytes) -> str:
    limits = settings().images
    where = store()
    if isinstance(given, str) and (there := _named(given, limits.url)):
        return there
    name = "" if isinstance(given, bytes) else str(given)
    data = given if isinstance(given, bytes) else _read(Path(given), limits.max_bytes)
    picture = examine(data, called=name, max_bytes=limits.max_bytes, max_pixels=limits.max_pixels)
    where.put(picture)
    return picture.image_id


def _named(given: str, url: str | None) -> str | None:
    """The id in `sha256:ID` or in a URL of our store; None for what is a path."""
    name = given.removeprefix("sha256:")
    if url is not None:
        name = name.removeprefix(f"{url.rstrip('/')}/images/")
    if name == given:
        if given.startswith(("http://", "https://")):
            raise InvalidAsk(f"{given} is not in this site's image store: give the file itself")
        return None
    try:
        return _IMAGE_ID.validate_python(name)
    except ValidationError as error:
        raise InvalidAsk(f"{given} names no image: an id is a sha256 in hexadecimal") from error


def _read(path: Path, most: int) -> bytes:
    try:
        if (size := path.stat().st_size) > most:
            raise InvalidAsk(f"image {str(path)!r} has {size:,} bytes; at most {most:,} are taken")
        return path.read_bytes()
    except OSError as error:
        raise InvalidAsk(f"image {str(path)!r} cannot be read: {error.strerror}") from error


def _said(answer: httpx.Response) -> str:
    return f"{answer.status_code} {answer.text[:200]}"
