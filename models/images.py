"""Validation of images, and signed access tokens for the image store. Pure.

An image's id is the sha256 of its bytes. It is decoded before it is accepted, so that participants
only get valid images.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import json
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Final, Literal

from colm.models.errors import ImageUnavailable, InvalidAsk

#: Default limits of a site.
MAX_BYTES: Final = 20_000_000
MAX_PIXELS: Final = 40_000_000
#: Longer side over shorter side: models spend minutes on extreme ratios.
MAX_RATIO: Final = 200

#: Media types and file suffixes by Pillow's format names.
_FORMATS = {
    "PNG": ("image/png", {".png"}),
    "JPEG": ("image/jpeg", {".jpg", ".jpeg"}),
    "GIF": ("image/gif", {".gif"}),
    "WEBP": ("image/webp", {".webp"}),
}
#: Multi Picture Format of cameras: a JPEG followed by smaller versions of it.
_MULTI_PICTURE = "MPO"
_SUFFIXES = {suffix: name for name, (_, suffixes) in _FORMATS.items() for suffix in suffixes}

Permission = Literal["read", "write", "remove"]


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A validated image."""

    image_id: str
    media_type: str
    width: int
    height: int
    data: bytes


def image_id_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def examine(
    data: bytes, *, called: str = "", max_bytes: int = MAX_BYTES, max_pixels: int = MAX_PIXELS
) -> Picture:
    """Decode and validate an image. Raises InvalidAsk.

    `called` is the name of its file; its suffix must match the format.
    """
    from PIL import Image, UnidentifiedImageError

    what = f"image {called!r}" if called else "the image"
    if not data:
        raise InvalidAsk(f"{what} is empty")
    if len(data) > max_bytes:
        raise InvalidAsk(f"{what} has {len(data):,} bytes; the limit is {max_bytes:,}")
    try:
        with Image.open(io.BytesIO(data), formats=tuple(_FORMATS)) as picture:
            width, height = picture.size
            _check_size(what, width, height, max_pixels)
            kind = "JPEG" if picture.format == _MULTI_PICTURE else str(picture.format)
            if kind != "JPEG" and getattr(picture, "n_frames", 1) > 1:
                raise InvalidAsk(f"{what} is animated; give one frame of it")
            picture.load()
    except UnidentifiedImageError as error:
        raise InvalidAsk(f"{what} is not a PNG, JPEG, GIF or WebP") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InvalidAsk(f"{what} has too many pixels: {error}") from error
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise InvalidAsk(f"{what} is damaged or truncated: {error}") from error
    if _SUFFIXES.get(PurePath(called).suffix.lower(), kind) != kind:
        raise InvalidAsk(f"{what} is a {kind}, unlike its suffix; rename it")
    return Picture(
        image_id=image_id_of(data),
        media_type=_FORMATS[kind][0],
        width=width,
        height=height,
        data=data,
    )


def _check_size(what: str, width: int, height: int, max_pixels: int) -> None:
    size = f"{what} has {width} x {height} pixels"
    if width * height > max_pixels:
        raise InvalidAsk(f"{size}; the limit is {max_pixels:,}: scale it down")
    if max(width, height) > MAX_RATIO * min(width, height):
        raise InvalidAsk(f"{size}; one side may be {MAX_RATIO} times the other: crop it")


def sign(
    secret: bytes, image_ids: Collection[str], until: datetime, may: Permission = "read"
) -> str:
    """A token, valid until `until`: "read" covers these images, the others cover any image."""
    claims = {"images": sorted(image_ids), "may": may, "until": int(until.timestamp())}
    text = base64.urlsafe_b64encode(json.dumps(claims, separators=(",", ":")).encode())
    return f"{text.decode()}.{_mac(secret, text)}"


def check_token(
    secret: bytes,
    token: str,
    now: datetime,
    *,
    image_id: str | None = None,
    may: Permission = "read",
) -> None:
    """Raises ImageUnavailable unless `token` is signed with `secret`, valid, and covers this."""
    text, _, mac = token.rpartition(".")
    # As bytes: compare_digest raises TypeError for non-ASCII text, which a header may contain.
    if not hmac.compare_digest(mac.encode(), _mac(secret, text.encode()).encode()):
        raise ImageUnavailable("the token was not signed by this site")
    claims = json.loads(base64.urlsafe_b64decode(text))
    if now >= datetime.fromtimestamp(claims["until"], UTC):
        raise ImageUnavailable("the token has expired")
    if claims["may"] != may or (image_id is not None and image_id not in claims["images"]):
        raise ImageUnavailable("the token does not cover this image or operation")


def _mac(secret: bytes, text: bytes) -> str:
    return hmac.new(secret, text, hashlib.sha256).hexdigest()
