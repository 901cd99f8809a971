"""What a model is shown of an image file: what a person sees who opens it."""

from __future__ import annotations

import io
from typing import Any, NoReturn, cast

import pytest
from PIL import Image

from colm.models.engines.native.image_processor import ChatProcessor, as_seen
from colm.models.errors import EngineError
from colm.models.messages import Turn
from tests.unit.engines_seeing import TEMPLATE, name_of, picture
from tests.unit.engines_tiny import tiny_tokenizer

ORIENTATION = 0x112
BLACK, GREY, WHITE = (0, 0, 0), (64, 64, 64), (255, 255, 255)


def opened(image: Image.Image, kind: str = "PNG", **options: Any) -> Image.Image:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return Image.open(io.BytesIO(file.getvalue()))


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif


def test_a_photo_is_shown_the_right_way_up() -> None:
    wide = Image.new("RGB", (32, 16))
    wide.paste("white", (0, 0, 16, 16))  # the left half
    held_upright = as_seen(opened(wide, "JPEG", exif=turned(6)))
    assert held_upright.size == (16, 32)
    top, bottom = (cast(tuple[int, ...], held_upright.getpixel((8, y))) for y in (4, 28))
    assert top[0] > 200
    assert bottom[0] < 50


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_turns_nothing() -> None:
    image = opened(Image.new("RGB", (32, 16)), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\xff\xff")
    assert as_seen(image).size == (32, 16)


def test_what_is_transparent_is_white() -> None:
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([0, 0, 0, 255, 0, 0])
    for image in (
        opened(Image.new("RGBA", (4, 4), (0, 0, 0, 0))),
        opened(Image.new("LA", (4, 4), (0, 0))),
        opened(Image.new("RGBA", (4, 4), (0, 0, 0, 0)), "WEBP", lossless=True),
        opened(palette, transparency=0),
        opened(palette, "GIF", transparency=0),
    ):
        assert as_seen(image).getpixel((1, 1)) == WHITE, image.mode
    assert as_seen(opened(Image.new("RGBA", (4, 4), (0, 0, 0, 255)))).getpixel((1, 1)) == BLACK


def test_of_16_bits_the_upper_ones_are_shown() -> None:
    grey = Image.new("I;16", (4, 4), 0x4000)
    assert as_seen(opened(grey)).getpixel((1, 1)) == GREY


class Refuses:
    """A processor that can do nothing with images, as some cannot with a few sizes."""

    tokenizer = tiny_tokenizer(TEMPLATE)

    def apply_chat_template(self, chat: Any, **_: Any) -> str:
        return str(chat)

    def __call__(self, **_: Any) -> NoReturn:
        raise ValueError("absolute aspect ratio must be smaller than 200")


def test_what_a_processor_cannot_do_is_the_request_s_own_error() -> None:
    image = picture(1)
    turn = Turn(role="user", content="What is it?", images=(name_of(image),))
    with pytest.raises(EngineError, match="refuses the images: absolute aspect ratio"):
        ChatProcessor(Refuses(), 1).prompt([turn], {name_of(image): image})
