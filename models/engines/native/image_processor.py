"""Prompts that hold images: from turns and image bytes to tokens and pixels.

In a prompt's tokens the places of images are negative numbers that depend on the images: a prefix
that two prompts share is then one whose images are the same too.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from PIL import Image, ImageOps
from torch import Tensor

from colm.models.engines.native.faults import failed
from colm.models.engines.native.tokenizer import ChatTokenizer, Prompt
from colm.models.engines.native.torch_threads import single_intraop_pool
from colm.models.engines.native.weights import LoadedModel
from colm.models.errors import EngineError, ModelUnusable
from colm.models.messages import Turn

Chat = list[dict[str, Any]]


class ChatProcessor(ChatTokenizer):
    """The tokenizer of a vision-language model, together with its image processor."""

    def __init__(self, processor: Any, image_token: int) -> None:
        self._processor = processor
        self._image_token = image_token
        super().__init__(processor.tokenizer)

    def prompt(self, messages: Sequence[Turn], images: Mapping[str, bytes]) -> Prompt:
        """EngineError for an image that is missing or cannot be read."""
        names = [name for turn in messages for name in turn.images]
        if not names:
            return super().prompt(messages, images)
        pictures = [_decoded(name, images) for name in names]
        prompt, _ = self._prompt(messages)
        with self._lock, single_intraop_pool():
            inputs = self._seen(prompt, pictures)
        tokens = inputs.pop("input_ids")[0].tolist()
        inputs.pop("attention_mask", None)
        place = _place(names)
        return Prompt(
            tokens=[place if token == self._image_token else token for token in tokens],
            pixels=inputs,
            opened=self._opened(prompt, messages),
        )

    def _seen(self, prompt: str, pictures: Sequence[Image.Image]) -> dict[str, Any]:
        try:
            inputs = self._processor(
                text=[prompt], images=[pictures], return_tensors="pt", add_special_tokens=False
            )
        except BaseException as error:
            raise failed("the model's processor refuses the images", error) from error
        return dict(inputs)

    def _template(self) -> Any:
        return getattr(self._processor, "chat_template", None) or super()._template()

    def _sources(self) -> str:
        # A text that holds the token would be taken to show one more image.
        return f"{super()._sources()}\n{getattr(self._processor, 'image_token', '')}"

    def _turn(self, turn: Turn) -> dict[str, Any]:
        text = {"type": "text", "text": turn.content}
        return {"role": turn.role, "content": [*[{"type": "image"} for _ in turn.images], text]}

    def _joined(self, first: Any, other: Any) -> Any:
        return [*first, {"type": "text", "text": "\n\n"}, *other]

    def _render(self, chat: Chat, *, add_generation_prompt: bool) -> str:
        prompt = self._processor.apply_chat_template(
            chat, tokenize=False, add_generation_prompt=add_generation_prompt
        )
        assert isinstance(prompt, str)
        return prompt


def tokenizer_of(loaded: LoadedModel) -> ChatTokenizer:
    """The tokenizer of this model, with images where it takes them."""
    if loaded.processor is None:
        return ChatTokenizer(loaded.tokenizer)
    return ChatProcessor(loaded.processor, image_token_of(loaded))


def image_token_of(loaded: LoadedModel) -> int:
    """The token that stands for a piece of an image."""
    token = getattr(loaded.model.config, "image_token_id", None)
    if not isinstance(token, int):
        raise ModelUnusable(
            f"{loaded.name} ({loaded.model.config.model_type}) does not say which token stands for"
            " an image. Serve it with an OpenAI-compatible server and set kind = 'openai'"
        )
    return token


def features_of(model: Any, pixels: Mapping[str, Tensor]) -> Tensor:
    """Image features for the language model, in the places of images: (places, width)."""
    moved = {name: value.to(model.device) for name, value in pixels.items()}
    features = model.get_image_features(**moved).pooler_output
    parts = [features] if isinstance(features, Tensor) else list(features)
    return torch.cat([part.reshape(-1, part.shape[-1]) for part in parts])


def trial(loaded: LoadedModel) -> Prompt:
    """A small prompt with an image, to try a model out with."""
    side = 48
    values = bytes((7 * place + 13) % 256 for place in range(side * side * 3))
    file = io.BytesIO()
    Image.frombytes("RGB", (side, side), values).save(file, "PNG")
    name = hashlib.sha256(file.getvalue()).hexdigest()
    turn = Turn(role="user", content="What is it?", images=(name,))
    return tokenizer_of(loaded).prompt([turn], {name: file.getvalue()})


def _decoded(name: str, images: Mapping[str, bytes]) -> Image.Image:
    if name not in images:
        raise EngineError(f"image {name[:12]} was not handed to the engine")
    try:
        with Image.open(io.BytesIO(images[name])) as picture:
            return as_seen(picture)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise EngineError(f"image {name[:12]} cannot be read: {error}") from error


def as_seen(picture: Image.Image) -> Image.Image:
    """In 8 bits of RGB as a person sees it: the right way up, on white where it is transparent."""
    picture.load()
    with contextlib.suppress(Exception):  # Pillow's are many, and damaged EXIF says nothing
        picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith("I"):  # 16 bits, of which a conversion keeps the lower half
        return picture.convert("I").point(lambda value: value / 256).convert("L").convert("RGB")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture)
    return picture.convert("RGB")


def _place(names: Sequence[str]) -> int:
    digest = hashlib.sha256("\n".join(names).encode()).digest()
    return -1 - (int.from_bytes(digest[:7], "big"))
