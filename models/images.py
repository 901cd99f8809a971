"""What may be asked about as an image, and the tokens that let a participant fetch one. Pure.

An image is named by the sha256 of its bytes, so that nobody can put another in its place. It is
decoded once, before it is taken in: what reaches a participant is known to be an image of its kind.
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

#: What a site takes where its settings say nothing else.
MAX_BYTES: Final = 20_000_000
MAX_PIXELS: Final = 40_000_000
#: The longer side over the shorter one. Models scale the longer one down, and can do no more with a
#: thread of pixels than spend minutes on it.
MAX_RATIO: Final = 200

#: Pillow's names of the formats, and the suffixes under which files of them go.
_FORMATS = {
    "PNG": ("image/png", {".png"}),
    "JPEG": ("image/jpeg", {".jpg", ".jpeg"}),
    "GIF": ("image/gif", {".gif"}),
    "WEBP": ("image/webp", {".webp"}),
}
#: What many cameras write: a JPEG with smaller ones of the same picture behind it.
_CAMERAS = "MPO"
_SUFFIXES = {suffix: name for name, (_, suffixes) in _FORMATS.items() for suffix in suffixes}

May = Literal["read", "write", "remove"]


@dataclass(frozen=True, kw_only=True)
class Picture:
    """An image that was examined."""

    image_id: str
    media_type: str
    width: int
    height: int
    data: bytes


def image_id_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def examine(
    data: bytes,
    *,
    called: str = "",
    max_bytes: int = MAX_BYTES,
    max_pixels: int = MAX_PIXELS,
) -> Picture:
    """Decode an image, and say what it is. Raises InvalidAsk that says what is wrong with it.

    `called` is the name of the file it came from: a suffix that tells another kind is refused.
    """
    from PIL import Image, UnidentifiedImageError

    what = f"image {called!r}" if called else "the image"
    if not data:
        raise InvalidAsk(f"{what} is empty")
    if len(data) > max_bytes:
        raise InvalidAsk(f"{what} has {len(data):,} bytes; at most {max_bytes:,} are taken")
    try:
        with Image.open(io.BytesIO(data), formats=tuple(_FORMATS)) as picture:
            width, height = picture.size
            _check_size(what, width, height, max_pixels)
            kind = "JPEG" if picture.format == _CAMERAS else str(picture.format)
            if kind != "JPEG" and getattr(picture, "n_frames", 1) > 1:
                raise InvalidAsk(f"{what} is animated; give one frame of it")
            picture.load()
    except UnidentifiedImageError as error:
        raise InvalidAsk(f"{what} is no PNG, JPEG, GIF or WebP") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InvalidAsk(f"{what} has too many pixels: {error}") from error
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise InvalidAsk(f"{what} is damaged or cut short: {error}") from error
    claimed = _SUFFIXES.get(PurePath(called).suffix.lower())
    if claimed not in (None, kind):
        raise InvalidAsk(f"{what} is a {kind} and not what its name says; rename it")
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
        raise InvalidAsk(f"{size}; at most {max_pixels:,} are taken: scale it down")
    if max(width, height) > MAX_RATIO * min(width, height):
        raise InvalidAsk(f"{size}; one side may be {MAX_RATIO} times the other: cut it")


def sign(secret: bytes, image_ids: Collection[str], until: datetime, may: May = "read") -> str:
    """A token with which these images may be fetched until then; or any put, or any removed."""
    until_s = int(until.timestamp())
    claims = {"images": sorted(image_ids), "may": may, "until": until_s}
    text = base64.urlsafe_b64encode(json.dumps(claims, separators=(",", ":")).encode())
    return f"{text.decode()}.{_mac(secret, text)}"


def check_token(
    secret: bytes, token: str, now: datetime, *, image_id: str | None = None, may: May = "read"
) -> None:
    """Raises ImageUnavailable unless `token` is good now, and was signed with `secret` for this."""
    text, _, mac = token.rpartition(".")
    # As bytes: compare_digest refuses text that is not ASCII, and a header may hold any.
    if not hmac.compare_digest(mac.encode(), _mac(secret, text.encode()).encode()):
        raise ImageUnavailable("the token was not made by this site")
    claims = json.loads(base64.urlsafe_b64decode(text))
    if now >= datetime.fromtimestamp(claims["until"], UTC):
        raise ImageUnavailable("the token has run out")
    if claims["may"] != may or (image_id is not None and image_id not in claims["images"]):
        raise ImageUnavailable("the token is for something else")


def _mac(secret: bytes, text: bytes) -> str:
    return hmac.new(secret, text, hashlib.sha256).hexdigest()
