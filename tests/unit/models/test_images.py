"""What is taken as an image, and who may fetch one."""

from __future__ import annotations

import io
import struct
import zlib
from datetime import UTC, datetime, timedelta

import pytest
from PIL import Image

from colm.models.errors import ImageUnavailable, InvalidAsk
from colm.models.images import check_token, examine, image_id_of, sign
from tests.unit.engines_seeing import picture

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
SECRET = b"0123456789abcdef0123456789abcdef"
PNG = picture(1)
ID = image_id_of(PNG)


@pytest.mark.parametrize(
    ("kind", "suffix", "media_type"),
    [
        ("PNG", "png", "image/png"),
        ("JPEG", "JPG", "image/jpeg"),
        ("GIF", "gif", "image/gif"),
        ("WEBP", "webp", "image/webp"),
    ],
)
def test_an_image_is_known_by_its_bytes(kind: str, suffix: str, media_type: str) -> None:
    data = picture(2, kind)
    found = examine(data, called=f"a/sign.{suffix}")
    assert (found.media_type, found.width, found.height) == (media_type, 54, 56)
    assert found.image_id == image_id_of(data)


def _bomb() -> bytes:
    """A PNG of a few hundred bytes that says it has 30,000 x 30,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        whole = kind + data
        return struct.pack(">I", len(data)) + whole + struct.pack(">I", zlib.crc32(whole))

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(b"\0" * 1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body + chunk(b"IEND", b"")


def _animated() -> bytes:
    file = io.BytesIO()
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    return file.getvalue()


def test_what_a_camera_writes_with_previews_is_a_jpeg() -> None:
    file = io.BytesIO()
    preview = Image.new("RGB", (16, 9))
    Image.new("RGB", (64, 36)).save(file, "MPO", save_all=True, append_images=[preview])
    found = examine(file.getvalue(), called="DSC_0001.JPG")
    assert (found.media_type, found.width, found.height) == ("image/jpeg", 64, 36)


@pytest.mark.parametrize("size", [(201, 1), (3, 2_000)])
def test_a_thread_of_pixels_is_refused(size: tuple[int, int]) -> None:
    """Models scale the longer side down: at 20,000,000 x 1 that took a minute."""
    file = io.BytesIO()
    Image.new("RGB", size).save(file, "PNG")
    with pytest.raises(InvalidAsk, match="one side may be 200 times the other"):
        examine(file.getvalue())


@pytest.mark.parametrize(
    ("data", "called", "reason"),
    [
        (b"", "sign.png", "'sign.png' is empty"),
        (b"hello", "", "is not a PNG, JPEG, GIF or WebP"),
        (b"<svg width='3' height='3'/>", "sign.svg", "is not a PNG"),
        (PNG[: len(PNG) // 2], "sign.png", "damaged or truncated"),
        (PNG, "sign.jpg", "is a PNG, unlike its suffix"),
        (_bomb(), "sign.png", "pixels"),
        (_animated(), "sign.gif", "is animated"),
    ],
)
def test_what_is_no_image_of_its_kind_is_refused_with_the_reason(
    data: bytes, called: str, reason: str
) -> None:
    with pytest.raises(InvalidAsk, match=reason):
        examine(data, called=called)


def test_limits_are_the_sites() -> None:
    with pytest.raises(InvalidAsk, match=r"the limit is 100"):
        examine(PNG, max_bytes=100)
    with pytest.raises(InvalidAsk, match=r"47 x 53 pixels; the limit is 1,000"):
        examine(PNG, max_pixels=1_000)


def test_a_token_opens_its_images_until_its_end() -> None:
    token = sign(SECRET, [ID], NOW + timedelta(seconds=60))
    check_token(SECRET, token, NOW, image_id=ID)
    with pytest.raises(ImageUnavailable, match="expired"):
        check_token(SECRET, token, NOW + timedelta(seconds=60), image_id=ID)
    with pytest.raises(ImageUnavailable, match="does not cover"):
        check_token(SECRET, token, NOW, image_id="0" * 64)
    with pytest.raises(ImageUnavailable, match="does not cover"):
        check_token(SECRET, token, NOW, may="write")


@pytest.mark.parametrize("token", ["", "x", "a.b", "\u00e9.\u00e9", "e30.0"])
def test_a_token_that_was_not_signed_here_opens_nothing(token: str) -> None:
    with pytest.raises(ImageUnavailable, match="not signed by this site"):
        check_token(SECRET, token, NOW)
    with pytest.raises(ImageUnavailable, match="not signed by this site"):
        check_token(b"another secret", sign(SECRET, [ID], NOW), NOW, image_id=ID)


def test_a_token_cannot_be_stretched() -> None:
    token = sign(SECRET, [ID], NOW + timedelta(seconds=60))
    longer = sign(b"guess", [ID], NOW + timedelta(days=60))
    forged = f"{longer.rpartition('.')[0]}.{token.rpartition('.')[2]}"
    with pytest.raises(ImageUnavailable, match="not signed by this site"):
        check_token(SECRET, forged, NOW, image_id=ID)
