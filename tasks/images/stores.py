"""Where images lie: a folder on this machine, or `colm images` over HTTP.

An image that was put, or held, lately stays for `SETTLED`, whatever the record says: the question
about it may not be recorded yet. So nothing that removes images takes one from under a question.
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

#: How long a token lasts that a caller or an operator makes for itself.
OWN_TOKEN = timedelta(minutes=10)
#: No image is removed that was put or held later than this.
SETTLED = timedelta(hours=1)
#: Seconds for one image, there or back.
TIMEOUT = 60.0
#: Names that `colm images` lists at once.
PAGE = 10_000

IMAGE_ID: TypeAdapter[str] = TypeAdapter(ImageId)


class ImageStore(Protocol):
    """Keeps images by the sha256 of their bytes. What is kept twice is kept once."""

    def put(self, picture: Picture) -> None:
        """Raises TransientError when the store cannot be reached or written."""

    def get(self, image_id: str, token: str = "") -> bytes:
        """Raises ImageUnavailable, or TransientError when the store cannot be reached."""

    def hold(self, image_id: str) -> None:
        """As if it were put once more. Raises ImageUnavailable where it is not there."""

    def remove(self, image_id: str, before: datetime) -> bool:
        """False if it stays, because it was put or held since `before`."""

    def old(self, before: datetime, after: str = "") -> Iterator[str]:
        """Images last put or held before then, by name, from the one that follows `after`."""


@dataclass(frozen=True)
class FolderStore:
    """A folder on this machine. When an image was put or held is when its file was changed."""

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
            return checked(image_id, self._path(image_id).read_bytes())
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
            # It may have been held since it was looked at. Who puts it from now on finds nothing.
            if _changed(aside) >= before:
                aside.rename(path)
                return False
            aside.unlink()
        for left in path.parent.glob(f".{path.name}.*"):  # by a process that died in between
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
        """Whether it is there already, held from now on. A file that was damaged is none."""
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
    """`colm images`."""

    url: str
    secret: bytes | None
    tls: TlsSettings = field(default_factory=TlsSettings)

    def put(self, picture: Picture) -> None:
        token = self._token("write")
        answer = self._ask("PUT", picture.image_id, token, content=picture.data)
        if answer.status_code not in (200, 201):
            raise InvalidAsk(f"the image store refuses the image: {_said(answer)}")

    def get(self, image_id: str, token: str = "") -> bytes:
        answer = self._ask("GET", image_id, token)
        if answer.status_code != 200:
            raise ImageUnavailable(f"image {image_id[:12]}: {_said(answer)}")
        return checked(image_id, answer.content)

    def hold(self, image_id: str) -> None:
        answer = self._ask("POST", image_id, self._token("write"))
        if answer.status_code != 204:
            raise ImageUnavailable(f"image {image_id[:12]}: {_said(answer)}")

    def remove(self, image_id: str, before: datetime) -> bool:
        params = {"before": before.isoformat()}
        answer = self._ask("DELETE", image_id, self._token("remove"), params=params)
        if answer.status_code not in (204, 409):
            raise ImageUnavailable(f"image {image_id[:12]} cannot be removed: {_said(answer)}")
        return answer.status_code == 204

    def old(self, before: datetime, after: str = "") -> Iterator[str]:
        while True:
            params = {"before": before.isoformat(), "after": after}
            answer = self._ask("GET", "", self._token("remove"), params=params)
            if answer.status_code != 200:
                raise ImageUnavailable(f"the images cannot be listed: {_said(answer)}")
            names = answer.text.split()
            yield from names
            if len(names) < PAGE:
                return
            after = names[-1]

    def _token(self, may: Permission) -> str:
        if self.secret is None:
            raise SettingsError(
                "images.secret_file is not set or cannot be read: who asks about images, or"
                " removes them, has to have the site's secret"
            )
        return sign(self.secret, (), datetime.now(UTC) + OWN_TOKEN, may)

    def _ask(self, method: str, image_id: str, token: str, **more: Any) -> httpx.Response:
        try:
            answer = httpx.request(
                method,
                f"{self.url.rstrip('/')}/images/{image_id}",
                headers={"Authorization": f"Bearer {token}"},
                timeout=TIMEOUT,
                # Neither a proxy nor an authority out of the environment.
                trust_env=False,
                verify=self.tls.context() if self.url.startswith("https") else True,
                **more,
            )
        except httpx.HTTPError as error:
            raise TransientError(
                f"the image store {self.url} cannot be reached: {error!r}"
            ) from error
        if answer.status_code >= 500:
            raise TransientError(f"the image store {self.url} fails: {_said(answer)}")
        return answer


def checked(image_id: str, data: bytes) -> bytes:
    """`data`, which must be what its name says; ImageUnavailable if not."""
    if image_id_of(data) != image_id:
        raise ImageUnavailable(f"image {image_id[:12]} was changed in the store")
    return data


def _write(path: Path, data: bytes) -> None:
    """The whole of it, or nothing, also where the power fails."""
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


def _said(answer: httpx.Response) -> str:
    return f"{answer.status_code} {answer.text[:200]}"
