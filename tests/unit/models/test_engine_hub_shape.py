"""A checkpoint laid out as SmolVLM's on the hub: its widths, its tiles, its files; random weights.

Of the 12 and 30 layers of SmolVLM-256M one and two are left, and of its vocabulary what the test's
tokenizer can write. Everything that an image meets before them is as there: it is scaled to 2048
pixels and cut into tiles of 512, and each tile becomes 64 places of the prompt.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import (
    AutoModelForImageTextToText,
    AutoProcessor,
    Idefics3Config,
    LlamaConfig,
)

from colm.models.engine_settings import EngineSettings
from colm.models.engines.base import GenerationRequest
from colm.models.engines.factory import build_engine
from colm.models.messages import Sampling, Turn
from tests.unit.engines_seeing import TEMPLATE, name_of
from tests.unit.engines_tiny import tiny_tokenizer

#: As the hub has them in preprocessor_config.json and processor_config.json.
IMAGE_PROCESSOR = {
    "image_processor_type": "Idefics3ImageProcessor",
    "processor_class": "Idefics3Processor",
    "do_convert_rgb": True,
    "do_image_splitting": True,
    "do_normalize": True,
    "do_pad": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "max_image_size": {"longest_edge": 512},
    "resample": 1,
    "rescale_factor": 1 / 255,
    "size": {"longest_edge": 2048},
}
PROCESSOR = {"image_seq_len": 64, "processor_class": "Idefics3Processor"}
PLACES = 64
TILES = [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]
TOKENS = ["<fake_token_around_image>", "<image>", "<global-img>", *TILES, "<end_of_utterance>"]
VISION = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 1,
    "num_attention_heads": 12,
    "image_size": 512,
    "patch_size": 16,
}


def save_hub_shape(folder: Path) -> Path:
    tokenizer: Any = tiny_tokenizer(TEMPLATE)
    tokenizer.add_special_tokens({"additional_special_tokens": TOKENS})
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=2,
        num_attention_heads=9,
        num_key_value_heads=3,
        max_position_embeddings=8192,
        initializer_range=0.3,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=2,
    )
    config = Idefics3Config(
        vision_config=VISION,
        text_config=text.to_dict(),
        scale_factor=4,
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
    )
    torch.manual_seed(11)
    factory: Any = AutoModelForImageTextToText
    factory.from_config(config).to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(IMAGE_PROCESSOR))
    (folder / "processor_config.json").write_text(json.dumps(PROCESSOR))
    return folder


def a_picture(path: Path, width: int, height: int) -> bytes:
    values = bytes((7 * place + place // 191) % 256 for place in range(width * height * 3))
    Image.frombytes("RGB", (width, height), values).save(path, "PNG")
    return path.read_bytes()


def alone(folder: Path, text: str, pictures: list[Path]) -> tuple[list[int], int]:
    """What transformers' own `generate` says, as tokens, and how long the prompt is."""
    factory: Any = AutoModelForImageTextToText
    processors: Any = AutoProcessor
    processor = processors.from_pretrained(folder)
    content = [*[{"type": "image"} for _ in pictures], {"type": "text", "text": text}]
    chat = [{"role": "user", "content": content}]
    inputs = processor(
        text=[processor.apply_chat_template(chat, add_generation_prompt=True)],
        images=[[Image.open(path).convert("RGB") for path in pictures]],
        return_tensors="pt",
        add_special_tokens=False,
    )
    model = factory.from_pretrained(folder, dtype=torch.float32).eval()
    output = model.generate(**inputs, max_new_tokens=6, do_sample=False)
    length = inputs["input_ids"].shape[1]
    return list(output[0][length:].tolist()), length


@pytest.mark.slow
def test_a_checkpoint_as_the_hub_has_it_is_served_tile_by_tile(tmp_path: Path) -> None:
    folder = save_hub_shape(tmp_path / "smolvlm")
    wide, tall = tmp_path / "wide.png", tmp_path / "tall.png"
    images = {name_of(data): data for data in (a_picture(wide, 800, 200), a_picture(tall, 30, 60))}
    turn = Turn(role="user", content="What is it?", images=tuple(images))
    request = GenerationRequest(
        request_id="r",
        messages=(turn,),
        images=images,
        sampling=Sampling(max_new_tokens=6, temperature=0.0),
        conversation="c",
    )
    engine = build_engine(EngineSettings(model=str(folder), dtype="float32", device="cpu"))
    try:
        found = engine.submit(request).result(120)
    finally:
        engine.close()

    said, length = alone(folder, "What is it?", [wide, tall])
    tokenizer: Any = tiny_tokenizer(TEMPLATE)
    tokenizer.add_special_tokens({"additional_special_tokens": TOKENS})
    # 800 x 200 is 4 x 1 tiles, 30 x 60 is 2 x 4, and each image is there once more as a whole.
    assert PLACES * (4 + 1 + 8 + 1) < length < PLACES * 15 + 400
    assert found.prompt_tokens == length
    assert found.text == tokenizer.decode(said, skip_special_tokens=True)
    assert found.text
