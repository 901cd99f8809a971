"""How likely given continuations are: the same as the model itself says, whatever else runs."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch

from colm.models.engine_settings import EngineSettings
from colm.models.engines.base import Engine, GenerationRequest
from colm.models.engines.libraries.paged import PagedEngine
from colm.models.engines.native.engine import ContinuousEngine
from colm.models.engines.native.tokenizer import ChatTokenizer
from colm.models.engines.scripted import ScriptedEngine
from colm.models.errors import EngineError
from colm.models.messages import Sampling, Turn
from tests.unit.engines_tiny import tiny_loaded

CHOICES = ("A", "B", "cat", "a dog of many tokens")
SOON = 20.0


def ask(text: str, request_id: str, *choices: str) -> GenerationRequest:
    return GenerationRequest(
        request_id=request_id,
        messages=(Turn(role="user", content=text),),
        sampling=Sampling(max_new_tokens=12, temperature=0.0),
        choices=choices,
    )


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = ContinuousEngine(tiny_loaded(endless=True), EngineSettings(max_num_seqs=4))
    yield engine
    engine.close()


def expected(text: str) -> dict[str, float]:
    """One plain forward pass over prompt and choice for each, without a cache."""
    loaded = tiny_loaded(endless=True)
    tokenizer = ChatTokenizer(loaded.tokenizer)
    prompt = tokenizer.encode((Turn(role="user", content=text),))
    found = {}
    for choice in CHOICES:
        tokens = tokenizer.continuation(choice)
        with torch.inference_mode():
            logits = loaded.model(torch.tensor([prompt + tokens])).logits[0].float()
        logprobs = logits.log_softmax(dim=-1)
        found[choice] = sum(
            float(logprobs[len(prompt) - 1 + place, token]) for place, token in enumerate(tokens)
        )
    return found


def test_choices_are_as_likely_as_the_model_says_also_beside_others(engine: Engine) -> None:
    running = [engine.submit(ask(f"tell me more {n}", f"r{n}")) for n in range(3)]
    texts = ["which letter", "which of these, after a somewhat longer question than the first?"]
    scored = [engine.submit(ask(text, text[:20], *CHOICES)) for text in texts]
    for text, future in zip(texts, scored, strict=True):
        completion, wanted = future.result(SOON), expected(text)
        assert completion.choice_logprobs == pytest.approx(wanted, abs=1e-3)
        best = max(wanted, key=lambda choice: wanted[choice])
        assert (completion.text, completion.finish_reason) == (best, "stop")
        assert completion.mean_logprob == pytest.approx(
            wanted[best] / completion.completion_tokens, abs=1e-3
        )
    alone = ContinuousEngine(tiny_loaded(endless=True), EngineSettings(max_num_seqs=4))
    for n, future in enumerate(running):
        same = alone.submit(ask(f"tell me more {n}", f"a{n}")).result(SOON)
        assert future.result(SOON).text == same.text
    alone.close()


def test_what_scoring_leaves_behind_is_used_by_the_next_request_and_changes_nothing(
    engine: Engine,
) -> None:
    first = engine.submit(ask("which letter", "one", *CHOICES)).result(SOON)
    again = engine.submit(ask("which letter", "two", *CHOICES)).result(SOON)
    assert again.choice_logprobs == pytest.approx(first.choice_logprobs, abs=1e-4)


def test_an_engine_that_cannot_score_says_so() -> None:
    engine = PagedEngine(tiny_loaded(endless=True), EngineSettings(kind="paged", max_num_seqs=2))
    try:
        with pytest.raises(EngineError, match="'paged' cannot tell how likely"):
            engine.submit(ask("which letter", "one", "A", "B")).result(SOON)
    finally:
        engine.close()


def test_the_scripted_engine_chooses_what_its_reply_holds() -> None:
    engine = ScriptedEngine(EngineSettings(kind="scripted", reply="it is B, I think"))
    completion = engine.submit(ask("which?", "one", "A", "B", "C")).result(SOON)
    assert completion.text == "B"
    assert completion.choice_logprobs is not None
    total = sum(math.exp(logprob) for logprob in completion.choice_logprobs.values())
    assert total == pytest.approx(1.0)
