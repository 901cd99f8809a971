"""Images in prompts: each request is answered as the model alone answers it, whatever it shares."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from colm.models.engine_settings import EngineSettings
from colm.models.engines.base import Engine, GenerationRequest
from colm.models.engines.factory import build_engine
from colm.models.engines.native.engine import ContinuousEngine
from colm.models.engines.openai.engine import OpenAIEngine
from colm.models.errors import EngineError
from colm.models.messages import Sampling, Turn
from tests.unit.engines_endpoint import completion, running_endpoint
from tests.unit.engines_seeing import name_of, picture, save_seeing_model
from tests.unit.engines_tiny import tiny_loaded

IMAGES = {name_of(image): image for image in (picture(n) for n in range(4))}
NAMES = list(IMAGES)
SOON = 30.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_seeing_model(tmp_path_factory.mktemp("seeing"))


@pytest.fixture
def engine(folder: Path) -> Iterator[Engine]:
    settings = EngineSettings(model=str(folder), dtype="float32", device="cpu", max_num_seqs=3)
    engine = build_engine(settings)
    yield engine
    engine.close()


def ask(text: str, *images: str, number: int = 0, system: str = "") -> GenerationRequest:
    before = (Turn(role="system", content=system),) if system else ()
    return GenerationRequest(
        request_id=f"r{number}",
        messages=(*before, Turn(role="user", content=text, images=images)),
        images=IMAGES,
        sampling=Sampling(max_new_tokens=14, temperature=0.0),
        conversation=f"c{number}",
    )


class Alone:
    """The model by itself, through transformers' own `generate`."""

    def __init__(self, folder: Path) -> None:
        factory: Any = AutoModelForImageTextToText
        processors: Any = AutoProcessor
        self._model = factory.from_pretrained(folder, dtype=torch.float32).eval()
        self._processor = processors.from_pretrained(folder)

    def __call__(self, request: GenerationRequest) -> list[int]:
        chat = [
            {
                "role": turn.role,
                "content": [
                    *[{"type": "image"} for _ in turn.images],
                    {"type": "text", "text": turn.content},
                ],
            }
            for turn in request.messages
        ]
        shown = [
            Image.open(io.BytesIO(IMAGES[name])).convert("RGB")
            for turn in request.messages
            for name in turn.images
        ]
        prompt = self._processor.apply_chat_template(chat, add_generation_prompt=True)
        inputs = self._processor(
            text=[prompt],
            images=[shown] if shown else None,
            return_tensors="pt",
            add_special_tokens=False,
        )
        output = self._model.generate(**inputs, max_new_tokens=14, do_sample=False)
        return list(output[0][inputs["input_ids"].shape[1] :].tolist())

    def text(self, request: GenerationRequest) -> str:
        decoded = self._processor.tokenizer.decode(self(request), skip_special_tokens=True)
        return str(decoded).replace("\x00", "\N{REPLACEMENT CHARACTER}")


@pytest.mark.parametrize("seed", range(3))
def test_images_of_any_size_and_number_share_a_batch_with_text(
    engine: Engine, folder: Path, seed: int
) -> None:
    dice = random.Random(seed)
    texts = ["What is it?", "Compare them, please.", "only text", "What is it? Look again."]
    requests = [
        ask(dice.choice(texts), *dice.sample(NAMES, dice.randrange(4)), number=n, system="Look.")
        for n in range(9)
    ]
    found = [future.result(SOON) for future in [engine.submit(r) for r in requests]]
    alone = Alone(folder)
    assert [c.text for c in found] == [alone.text(r) for r in requests]


def test_a_prefix_is_shared_with_the_same_image_and_not_with_another(
    engine: Engine, folder: Path
) -> None:
    first = engine.submit(ask("What is it?", NAMES[0])).result(SOON)
    same = ask("What is it? And why?", NAMES[0])
    other = ask("What is it? And why?", NAMES[1])
    again, another = engine.submit(same).result(SOON), engine.submit(other).result(SOON)
    shown = first.prompt_tokens - 20  # most of the prompt is the image
    assert again.cached_tokens > shown
    assert another.cached_tokens < shown
    alone = Alone(folder)
    assert [again.text, another.text] == [alone.text(same), alone.text(other)]


def test_a_long_prompt_with_images_is_computed_in_pieces(engine: Engine, folder: Path) -> None:
    request = ask("word " * 150, *NAMES)
    assert engine.submit(request).result(SOON).text == Alone(folder).text(request)


@pytest.mark.parametrize(
    ("images", "reason"),
    [
        ({}, "was not handed to the engine"),
        ({NAMES[0]: b"no image at all"}, "cannot be read"),
        ({NAMES[0]: IMAGES[NAMES[0]][:200]}, "cannot be read"),
    ],
)
def test_an_image_that_cannot_be_used_is_its_requests_own_error(
    engine: Engine, images: dict[str, bytes], reason: str
) -> None:
    broken = GenerationRequest(
        request_id="broken",
        messages=(Turn(role="user", content="What is it?", images=(NAMES[0],)),),
        images=images,
        sampling=Sampling(max_new_tokens=4),
    )
    well = engine.submit(ask("What is it?", NAMES[0]))
    with pytest.raises(EngineError, match=reason):
        engine.submit(broken).result(SOON)
    assert well.result(SOON).completion_tokens > 0


def test_a_model_that_reads_text_only_says_so() -> None:
    engine = ContinuousEngine(tiny_loaded(), EngineSettings(max_num_seqs=2))
    try:
        with pytest.raises(EngineError, match="reads text only"):
            engine.submit(ask("What is it?", NAMES[0])).result(SOON)
    finally:
        engine.close()


def shown(content: Sequence[dict[str, Any]]) -> list[str]:
    return [part["image_url"]["url"][:22] for part in content if part["type"] == "image_url"]


def test_an_endpoint_is_sent_the_images_as_data() -> None:
    jpeg = picture(1, "JPEG")
    both = {**IMAGES, name_of(jpeg): jpeg}
    with running_endpoint() as endpoint:
        endpoint.canned.append(completion("A sign."))
        engine = OpenAIEngine(EngineSettings(kind="openai", model="m", base_url=endpoint.url))
        request = GenerationRequest(
            request_id="one",
            messages=(Turn(role="user", content="What is it?", images=(NAMES[0], name_of(jpeg))),),
            images=both,
            sampling=Sampling(max_new_tokens=4),
        )
        assert engine.submit(request).result(SOON).text == "A sign."
        engine.close()
        (turn,) = endpoint.asked[0]["messages"]
    assert shown(turn["content"]) == ["data:image/png;base64,", "data:image/jpeg;base64"]
    assert turn["content"][-1] == {"type": "text", "text": "What is it?"}
