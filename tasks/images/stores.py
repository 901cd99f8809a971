"""Image stores: a folder on this machine, or `colm images` over HTTP.

An image that was put or held less than `SETTLED` ago is never removed: its question may not be
recorded yet.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import httpx
from pydantic import TypeAdapter

from colm.models.errors import ImageUnavailable, InvalidAsk, SettingsError, TransientError
from colm.models.images import Permission, Picture, image_id_of, sign
from colm.models.messages import ImageId
from colm.tasks.config.tls import TlsSettings

#: Lifetime of a token that a caller or an operator signs for itself.
OWN_TOKEN = timedelta(minutes=10)
#: Minimum age of a removed image since it was put or held.
SETTLED = timedelta(hours=1)
#: Timeout of one request (seconds).
TIMEOUT = 60.0
#: Ids on a page of the list of `colm images`.
PAGE = 10_000

IMAGE_ID: TypeAdapter[str] = TypeAdapter(ImageId)


class ImageStore(Protocol):
    """Content-addressed store: an image's id is the sha256 of its bytes."""

    def put(self, picture: Picture) -> None:
        """Store an image. Raises TransientError."""

    def get(self, image_id: str, token: str = "") -> bytes:
        """The bytes of an image. Raises ImageUnavailable or TransientError."""

    def hold(self, image_id: str) -> None:
        """Reset its age, as a put does. Raises ImageUnavailable."""

    def remove(self, image_id: str, before: datetime) -> bool:
        """Remove an image; False if it was put or held since `before`."""

    def old(self, before: datetime, after: str = "") -> Iterator[str]:
        """Ids, in order and greater than `after`, of images last put or held before then."""


@dataclass(frozen=True)
class FolderStore:
    """A folder on this machine. The mtime of a file is the time of its last put or hold."""

    folder: Path

    def put(self, picture: Picture) -> None:
        path = self._path(picture.image_id)
        try:
            if self._holds_whole(picture.image_id):
                return
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            _write(path, picture.data)
        except OSError as error:
            raise TransientError(f"an image cannot be kept in {self.folder}: {error}") from error

    def get(self, image_id: str, token: str = "") -> bytes:  # noqa: ARG002 - a store's signature
        try:
            return verified(image_id, self._path(image_id).read_bytes())
        except FileNotFoundError as error:
            raise self._absent(image_id) from error
        except OSError as error:
            raise ImageUnavailable(f"image {image_id[:12]} cannot be read: {error}") from error

    def hold(self, image_id: str) -> None:
        try:
            os.utime(self._path(image_id))
        except OSError as error:
            raise self._absent(image_id) from error

    def remove(self, image_id: str, before: datetime) -> bool:
        path = self._path(image_id)
        aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        with suppress(FileNotFoundError):
            if _changed(path) >= before:
                return False
            path.rename(aside)
            # It may have been held since. A put from now on writes a new file.
            if _changed(aside) >= before:
                aside.rename(path)
                return False
            aside.unlink()
        for left in path.parent.glob(f".{path.name}.*"):  # left by a process that died
            with suppress(FileNotFoundError):
                if _changed(left) < before:
                    left.unlink()
        return True

    def old(self, before: datetime, after: str = "") -> Iterator[str]:
        for path in sorted(self.folder.glob("??/" + "[0-9a-f]" * 64)):
            with suppress(FileNotFoundError):
                if path.name > after and _changed(path) < before:
                    yield path.name

    def _holds_whole(self, image_id: str) -> bool:
        """Hold the image if it is stored undamaged; False otherwise."""
        try:
            self.hold(image_id)
            self.get(image_id)
        except ImageUnavailable:
            return False
        return True

    def _path(self, image_id: str) -> Path:
        name = IMAGE_ID.validate_python(image_id)  # it becomes a path
        return self.folder / name[:2] / name

    def _absent(self, image_id: str) -> ImageUnavailable:
        return ImageUnavailable(f"image {image_id[:12]} is not in {self.folder}")


@dataclass(frozen=True)
class HttpStore:
    """Client of `colm images`."""

    url: str
    secret: bytes | None
    tls: TlsSettings = field(default_factory=TlsSettings)

    def put(self, picture: Picture) -> None:
        token = self._token("write")
        response = self._request("PUT", picture.image_id, token, content=picture.data)
        if response.status_code not in (200, 201):
            raise InvalidAsk(f"the image store refuses the image: {_status(response)}")

    def get(self, image_id: str, token: str = "") -> bytes:
        response = self._request("GET", image_id, token)
        if response.status_code != 200:
            raise ImageUnavailable(f"image {image_id[:12]}: {_status(response)}")
        return verified(image_id, response.content)

    def hold(self, image_id: str) -> None:
        response = self._request("POST", image_id, self._token("write"))
        if response.status_code != 204:
            raise ImageUnavailable(f"image {image_id[:12]}: {_status(response)}")

    def remove(self, image_id: str, before: datetime) -> bool:
        params = {"before": before.isoformat()}
        response = self._request("DELETE", image_id, self._token("remove"), params=params)
        if response.status_code not in (204, 409):
            raise ImageUnavailable(f"image {image_id[:12]} cannot be removed: {_status(response)}")
        return response.status_code == 204

    def old(self, before: datetime, after: str = "") -> Iterator[str]:
        while True:
            params = {"before": before.isoformat(), "after": after}
            response = self._request("GET", "", self._token("remove"), params=params)
            if response.status_code != 200:
                raise ImageUnavailable(f"the images cannot be listed: {_status(response)}")
            names = response.text.split()
            yield from names
            if len(names) < PAGE:
                return
            after = names[-1]

    def _token(self, may: Permission) -> str:
        if self.secret is None:
            raise SettingsError(
                "images.secret_file is not set or cannot be read: sending and removing images needs"
                " the site's secret"
            )
        return sign(self.secret, (), datetime.now(UTC) + OWN_TOKEN, may)

    def _request(self, method: str, image_id: str, token: str, **more: Any) -> httpx.Response:
        try:
            response = httpx.request(
                method,
                f"{self.url.rstrip('/')}/images/{image_id}",
                headers={"Authorization": f"Bearer {token}"},
                timeout=TIMEOUT,
                # No proxy and no authority from the environment.
                trust_env=False,
                verify=self.tls.context() if self.url.startswith("https") else True,
                **more,
            )
        except httpx.HTTPError as error:
            raise TransientError(
                f"the image store {self.url} cannot be reached: {error!r}"
            ) from error
        if response.status_code >= 500:
            raise TransientError(f"the image store {self.url} fails: {_status(response)}")
        return response


def verified(image_id: str, data: bytes) -> bytes:
    """`data`, if it has this id. Raises ImageUnavailable."""
    if image_id_of(data) != image_id:
        raise ImageUnavailable(f"image {image_id[:12]} was changed in the store")
    return data


def _write(path: Path, data: bytes) -> None:
    """Write a file atomically, also across a power failure."""
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with unfinished.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _changed(path: Path) -> datetime:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)


def _status(response: httpx.Response) -> str:
    return f"{response.status_code} {response.text[:200]}"
