"""A vision-language model small enough to make in a test, and images to show it."""

from __future__ import annotations

import hashlib
import io
from functools import cache
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, Idefics3Config, LlamaConfig
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.idefics3.processing_idefics3 import Idefics3Processor

from tests.unit.engines_tiny import tiny_tokenizer

TEMPLATE = (
    "{% for m in messages %}<|start|>{{ m.role }}\n"
    "{% for c in m.content %}{% if c.type == 'image' %}<image>{% else %}{{ c.text }}{% endif %}"
    "{% endfor %}<|end|>{% endfor %}{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
)
_TOKENS = ["<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>"]
_SIDE = 64


def picture(number: int, kind: str = "PNG") -> bytes:
    """An image of its own size and colours for each number."""
    width, height = 40 + 7 * number, 50 + 3 * number
    values = bytes(
        (place * (number + 3) + 17 * number) % 256 for place in range(width * height * 3)
    )
    file = io.BytesIO()
    Image.frombytes("RGB", (width, height), values).save(file, kind)
    return file.getvalue()


def name_of(image: bytes) -> str:
    return hashlib.sha256(image).hexdigest()


@cache
def _model(vocabulary: int, image_token: int) -> Any:
    text = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        initializer_range=0.5,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=2,
    )
    vision = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": _SIDE,
        "patch_size": 8,
    }
    config = Idefics3Config(
        vision_config=vision,
        text_config=text.to_dict(),
        scale_factor=2,
        image_token_id=image_token,
    )
    torch.manual_seed(7)
    factory: Any = AutoModelForImageTextToText
    return factory.from_config(config).float().eval()


def save_seeing_model(folder: Path) -> Path:
    """An Idefics3 with random weights and its processor, as a folder that `load` takes."""
    tokenizer: Any = tiny_tokenizer(TEMPLATE)
    tokenizer.add_special_tokens({"additional_special_tokens": _TOKENS})
    images: Any = Idefics3ImageProcessorPil(
        do_image_splitting=False,
        size={"longest_edge": _SIDE},
        max_image_size={"longest_edge": _SIDE},
    )
    places = (_SIDE // 8) ** 2 // 2**2
    processor: Any = Idefics3Processor(
        images, tokenizer, image_seq_len=places, chat_template=TEMPLATE
    )
    _model(len(tokenizer), tokenizer.convert_tokens_to_ids("<image>")).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
