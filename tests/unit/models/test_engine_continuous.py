"""The transformers engine: what it generates is what the model alone would."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from colm.models.engine_settings import EngineSettings
from colm.models.engines.native.engine import ContinuousEngine
from colm.models.engines.native.scheduler import PREFILL_TOKENS
from colm.models.messages import Sampling
from tests.unit.engines_asking import (
    SOON,
    TOKENIZER,
    ask,
    endless,
    expect_generated,
    generated,
    llama,
)
from tests.unit.engines_tiny import DRIVEN, tiny_loaded, tiny_model

__all__ = ["endless", "llama"]  # fixtures


@pytest.fixture(scope="module", params=list(DRIVEN))
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def engine(family: str) -> Iterator[ContinuousEngine]:
    engine = ContinuousEngine(
        tiny_loaded(family),
        EngineSettings(max_num_seqs=3, kv_cache_tokens=1200, prefix_cache_tokens=400),
    )
    yield engine
    engine.close()


_texts = st.text(st.sampled_from("abc ,.XYZ"), max_size=60) | st.text("a", max_size=60)
_mixes = st.lists(st.tuples(_texts, st.integers(1, 24)), min_size=1, max_size=7)


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(mix=_mixes)
def test_any_mix_says_what_each_request_says_alone(
    engine: ContinuousEngine, family: str, mix: list[tuple[str, int]]
) -> None:
    futures = [engine.submit(ask(text, new=new)) for text, new in mix]

    for (text, new), future in zip(mix, futures, strict=True):
        expect_generated(family, (text,), new, future.result(SOON))


_visits = st.lists(st.tuples(st.sampled_from("AB"), _texts), min_size=2, max_size=6)


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(visits=_visits)
def test_conversations_that_go_on_say_what_they_would_from_the_start(
    engine: ContinuousEngine, family: str, visits: list[tuple[str, str]]
) -> None:
    said: dict[str, tuple[str, ...]] = {"A": ("What is blue?",), "B": ("What is green?",)}
    for name, guidance in visits:
        found = engine.submit(ask(*said[name], conversation=name)).result(SOON)
        expect_generated(family, said[name], 16, found)
        said[name] = (*said[name], found.text, guidance)


def test_a_refinement_computes_only_what_its_draft_did_not(endless: ContinuousEngine) -> None:
    draft = endless.submit(ask("What is blue?" * 9, conversation="q")).result(SOON)
    refine = ask("What is blue?" * 9, draft.text, "Say more.", conversation="q")

    refined = endless.submit(refine).result(SOON)

    assert draft.cached_tokens == 0
    # All but the draft's last token, which was drawn and never fed back.
    assert refined.cached_tokens == draft.prompt_tokens + draft.completion_tokens - 1
    assert endless.stats.cached_tokens == refined.cached_tokens


def test_conversations_share_the_prefix_that_they_have_in_common(llama: ContinuousEngine) -> None:
    first = llama.submit(ask("The same long instruction. One.", conversation="a")).result(SOON)
    second = llama.submit(ask("The same long instruction. Two.", conversation="b")).result(SOON)

    assert first.cached_tokens == 0
    assert second.cached_tokens >= len("The same long instruction. ")


def test_samples_of_one_prompt_prefill_it_once(llama: ContinuousEngine) -> None:
    dice = [Sampling(max_new_tokens=12, temperature=1.0, seed=seed) for seed in range(4)]
    alone = [llama.submit(ask("Roll it.", sampling=die)).result(SOON) for die in dice]

    together = [llama.submit(ask("Roll it.", sampling=die)) for die in dice]

    found = [future.result(SOON) for future in together]
    assert [one.text for one in found] == [one.text for one in alone]
    assert sum(one.cached_tokens == one.prompt_tokens - 1 for one in found) >= 2
    assert not any(one.cached_tokens for one in alone)


def test_nothing_is_kept_where_nothing_may_be() -> None:
    engine = ContinuousEngine(tiny_loaded(), EngineSettings(prefix_cache_tokens=0))
    try:
        for _ in range(2):
            found = engine.submit(ask("Again and again.", conversation="a")).result(SOON)
            assert found.cached_tokens == 0
    finally:
        engine.close()


def test_a_seed_draws_the_same_whoever_shares_the_batch(llama: ContinuousEngine) -> None:
    dice = Sampling(max_new_tokens=24, temperature=1.2, top_p=0.9, seed=11)
    alone = llama.submit(ask("Roll.", sampling=dice)).result(SOON)

    crowd = [
        llama.submit(ask("x" * size, sampling=dice.model_copy(update={"seed": size})))
        for size in (3, 30, 90)
    ]
    together = llama.submit(ask("Roll.", sampling=dice)).result(SOON)

    assert together.text == alone.text
    assert together.mean_logprob == pytest.approx(alone.mean_logprob, abs=1e-3)
    assert together.batch_size > 1
    assert len({future.result(SOON).text for future in crowd}) == 3


def test_other_seeds_and_none_draw_otherwise(llama: ContinuousEngine) -> None:
    texts = {
        llama.submit(ask("Roll.", sampling=Sampling(max_new_tokens=24, temperature=1.5, seed=seed)))
        .result(SOON)
        .text
        for seed in (1, 2, 3, None, None)
    }

    assert len(texts) == 5


def test_the_mean_logprob_is_the_models_own(llama: ContinuousEngine) -> None:
    found = llama.submit(ask("How likely?", new=8)).result(SOON)

    tokens = generated("llama", ("How likely?",), 8)
    prompt = TOKENIZER.apply_chat_template(
        [{"role": "user", "content": "How likely?"}], add_generation_prompt=True, return_dict=True
    )["input_ids"]
    with torch.inference_mode():
        logits = tiny_model()(torch.tensor([prompt + tokens])).logits[0, len(prompt) - 1 : -1]
    logprobs = logits.log_softmax(-1).gather(-1, torch.tensor(tokens)[:, None])
    assert found.mean_logprob == pytest.approx(float(logprobs.mean()), abs=1e-4)


def test_a_long_prompt_is_prefilled_in_pieces_between_the_others_tokens(
    endless: ContinuousEngine,
) -> None:
    runs = endless.submit(ask("Go on.", new=2000))
    while not endless.stats.steps:
        time.sleep(0.001)
    before = endless.stats.steps
    long = endless.submit(ask("abcdefgh" * 300, new=1)).result(SOON)

    assert not runs.done()
    assert endless.stats.steps - before >= long.prompt_tokens // PREFILL_TOKENS


def test_who_leaves_while_a_prompt_is_prefilled_does_not_disturb_it(
    llama: ContinuousEngine,
) -> None:
    prompt = "abcdefgh" * 300

    leaves = [llama.submit(ask(text, new=new)) for text, new in (("One", 2), ("Two.", 3))]
    enters = llama.submit(ask(prompt))

    expect_generated("llama", (prompt,), 16, enters.result(SOON))
    assert [future.result(SOON).total_s < enters.result().total_s for future in leaves] == [
        True
    ] * 2


def test_a_lone_request_does_not_wait(llama: ContinuousEngine) -> None:
    llama.submit(ask("Warm up.")).result(SOON)

    waits = [llama.submit(ask("Now.")).result(SOON).queued_s for _ in range(9)]
    assert min(waits) < 0.05, waits


def test_a_request_joins_while_another_runs_and_leaves_before_it(
    endless: ContinuousEngine,
) -> None:
    long = endless.submit(ask("A long one.", new=2000))
    short = endless.submit(ask("A short one.", new=5)).result(SOON)

    assert not long.done()
    assert short.batch_size == 2
