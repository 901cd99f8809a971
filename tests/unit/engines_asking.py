"""Asking the transformers engine, and what the model alone would answer."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import count
from typing import Any

import pytest

from colm.models.engine_settings import EngineSettings
from colm.models.engines.base import GenerationRequest
from colm.models.engines.native.engine import ContinuousEngine
from colm.models.messages import Completion, Sampling, Turn
from tests.unit.engines_tiny import tiny_loaded, tiny_model, tiny_tokenizer

SOON = 30.0
_ids = count()
TOKENIZER: Any = tiny_tokenizer()


def ask(
    *contents: str,
    new: int = 16,
    conversation: str | None = None,
    deadline: float | None = None,
    sampling: Sampling | None = None,
) -> GenerationRequest:
    """A chat in which user and assistant take turns."""
    roles = ("user", "assistant") * len(contents)
    return GenerationRequest(
        request_id=f"c{next(_ids)}",
        messages=tuple(
            Turn.model_validate({"role": role, "content": content})
            for role, content in zip(roles, contents, strict=False)
        ),
        sampling=sampling or Sampling(max_new_tokens=new, temperature=0.0),
        conversation=conversation,
        deadline=deadline,
    )


@cache
def generated(family: str, request_text: tuple[str, ...], new: int) -> list[int]:
    """What the model says when it is asked alone, by transformers' own `generate`."""
    model = tiny_model(family)
    prompt = TOKENIZER.apply_chat_template(
        [turn.model_dump() for turn in ask(*request_text).messages],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    out: Any = model.generate(**prompt, max_new_tokens=new, do_sample=False)
    return list(out[0, prompt["input_ids"].shape[1] :].tolist())


def expect_generated(family: str, texts: tuple[str, ...], new: int, found: Completion) -> None:
    tokens = generated(family, texts, new)
    assert found.text == TOKENIZER.decode(tokens, skip_special_tokens=True)
    assert found.completion_tokens == len(tokens)
    assert found.finish_reason == ("stop" if tokens[-1] == 1 else "length")


@pytest.fixture
def llama() -> Iterator[ContinuousEngine]:
    engine = ContinuousEngine(tiny_loaded(), EngineSettings(max_num_seqs=4))
    yield engine
    engine.close()


@pytest.fixture
def endless() -> Iterator[ContinuousEngine]:
    """Never ends its turn by itself, and writes no control tokens."""
    engine = ContinuousEngine(tiny_loaded(endless=True), EngineSettings(max_num_seqs=2))
    yield engine
    engine.close()
