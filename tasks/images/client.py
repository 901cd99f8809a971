"""Client of the site's image store.

The store is a folder in the stack's home, or `colm images` over HTTP. A participant fetches the
images of a step with the step's token. Messages carry only image ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import cache
from pathlib import Path

from pydantic import ValidationError

from colm.models.errors import ImageUnavailable, InvalidAsk, SettingsError
from colm.models.images import examine, sign
from colm.tasks.config.settings import ImageSettings, Settings, settings
from colm.tasks.images.stores import IMAGE_ID, FolderStore, HttpStore, ImageStore


def store(site: Settings | None = None) -> ImageStore:
    """The store of these settings, by default this process's."""
    site = site or settings()
    if site.images.url is None:
        return FolderStore(site.home / "images")
    return HttpStore(site.images.url, secret(site.images, needed=False), site.tls)


def keep(images: Sequence[str | Path | bytes]) -> tuple[str, ...]:
    """Put a caller's images into the store; their ids. Raises InvalidAsk.

    Each is a path, bytes, or for a stored image `sha256:ID` or its URL in the store.
    """
    return tuple(_keep(image) for image in images)


def fetch(image_ids: Iterable[str], token: str) -> dict[str, bytes]:
    """The bytes of each image. Raises ImageUnavailable or TransientError."""
    images = store()
    return {image_id: images.get(image_id, token) for image_id in image_ids}


def read_token(image_ids: Iterable[str], until: datetime) -> str:
    """A read token for these images until then; empty for a folder."""
    if settings().images.url is None:
        return ""
    key = secret(settings().images)
    if key is None:
        raise SettingsError("images.url is set and images.secret_file is not: tokens need it")
    return sign(key, sorted(set(image_ids)), until)


def secret(images: ImageSettings, *, needed: bool = True) -> bytes | None:
    """The signing key of tokens. Raises SettingsError if it is needed and missing."""
    return _secret(images.secret_file, needed)


@cache
def _secret(path: str | None, needed: bool) -> bytes | None:
    try:
        key = Path(path).read_bytes() if path else b""
    except OSError as error:
        if not needed:  # a participant gets its tokens with its steps
            return None
        raise SettingsError(f"images.secret_file {path} cannot be read: {error}") from error
    if path and len(key) < 32:
        raise SettingsError(
            f"images.secret_file {path} holds {len(key)} bytes; at least 32 are needed"
        )
    return key or None


def _keep(image: str | Path | bytes) -> str:
    limits = settings().images
    images = store()
    if isinstance(image, str) and (image_id := _id_in(image, limits.url)):
        _hold(images, image_id, image)
        return image_id
    name = "" if isinstance(image, bytes) else str(image)
    data = image if isinstance(image, bytes) else _read(Path(image), limits.max_bytes)
    picture = examine(data, called=name, max_bytes=limits.max_bytes, max_pixels=limits.max_pixels)
    images.put(picture)
    return picture.image_id


def _hold(images: ImageStore, image_id: str, reference: str) -> None:
    try:
        images.hold(image_id)
    except ImageUnavailable as error:
        raise InvalidAsk(f"{reference} is not in this site's image store: {error}") from error


def _id_in(reference: str, url: str | None) -> str | None:
    """The id in `sha256:ID` or in a URL of our store; None for a path."""
    name = reference.removeprefix("sha256:")
    if url is not None:
        name = name.removeprefix(f"{url.rstrip('/')}/images/")
    if name == reference:
        if reference.startswith(("http://", "https://")):
            raise InvalidAsk(f"{reference} is not in this site's image store: give the file itself")
        return None
    try:
        return IMAGE_ID.validate_python(name)
    except ValidationError as error:
        raise InvalidAsk(f"{reference} is no image id: that is a sha256 in hexadecimal") from error


def _read(path: Path, limit: int) -> bytes:
    """Up to `limit` bytes of a regular file. Raises InvalidAsk."""
    try:
        if not path.is_file():
            path.stat()  # raises for a missing file
            raise InvalidAsk(f"image {str(path)!r} is no file")
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InvalidAsk(f"image {str(path)!r} cannot be read: {reason}") from error
    if len(data) > limit:
        raise InvalidAsk(f"image {str(path)!r} is larger than the limit of {limit:,} bytes")
    return data
