"""The site's image store, as callers, coordinators and participants reach it.

On one machine it is a folder in the stack's home. Elsewhere it is `colm images`, over HTTP: callers
put images there, and a participant fetches the images of a step with the token that came with it.
Nothing but their names travels through the broker.
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


def store(found: Settings | None = None) -> ImageStore:
    """The store of this process's settings, or of `found`."""
    found = found or settings()
    if found.images.url is None:
        return FolderStore(found.home / "images")
    return HttpStore(found.images.url, secret(found.images, needed=False), found.tls)


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


def secret(found: ImageSettings, *, needed: bool = True) -> bytes | None:
    """What tokens are signed with. SettingsError if it is needed and not there."""
    return _secret(found.secret_file, needed)


@cache
def _secret(path: str | None, needed: bool) -> bytes | None:
    try:
        key = Path(path).read_bytes() if path else b""
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
        _hold(where, there, given)
        return there
    name = "" if isinstance(given, bytes) else str(given)
    data = given if isinstance(given, bytes) else _read(Path(given), limits.max_bytes)
    picture = examine(data, called=name, max_bytes=limits.max_bytes, max_pixels=limits.max_pixels)
    where.put(picture)
    return picture.image_id


def _hold(where: ImageStore, image_id: str, given: str) -> None:
    try:
        where.hold(image_id)
    except ImageUnavailable as error:
        raise InvalidAsk(f"{given} is not in this site's image store: {error}") from error


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
        return IMAGE_ID.validate_python(name)
    except ValidationError as error:
        raise InvalidAsk(f"{given} names no image: an id is a sha256 in hexadecimal") from error


def _read(path: Path, most: int) -> bytes:
    """No more than is taken, whatever the file says of its size; and no device or pipe."""
    try:
        if not path.is_file():
            path.stat()  # says why, where it is not there
            raise InvalidAsk(f"image {str(path)!r} is no file")
        with path.open("rb") as file:
            data = file.read(most + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InvalidAsk(f"image {str(path)!r} cannot be read: {reason}") from error
    if len(data) > most:
        raise InvalidAsk(f"image {str(path)!r} has more than the {most:,} bytes that are taken")
    return data
