"""The paged engine: what transformers' manager does not promise, it keeps all the same."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from colm.models.engine_settings import EngineSettings
from colm.models.engines.libraries.paged import PagedEngine
from colm.models.engines.libraries.paged_sampler import draw_rows, forced
from colm.models.errors import EngineError, ModelUnusable
from colm.models.messages import Sampling
from tests.unit.engines_asking import SOON, TOKENIZER, ask, expect_generated, generated
from tests.unit.engines_tiny import tiny_loaded, tiny_model

FAMILIES = ("llama", "qwen2", "qwen3", "mistral", "gemma2", "gemma3", "phi3")


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def engine(family: str) -> Iterator[PagedEngine]:
    engine = PagedEngine(
        tiny_loaded(family),
        EngineSettings(max_num_seqs=3, kv_cache_tokens=1200, prefix_cache_tokens=400),
    )
    yield engine
    engine.close()


@pytest.fixture
def llama() -> Iterator[PagedEngine]:
    engine = PagedEngine(tiny_loaded(), EngineSettings(max_num_seqs=4))
    yield engine
    engine.close()


_texts = st.text(st.sampled_from("abc ,.XYZ"), max_size=60) | st.text("a", max_size=60)
_mixes = st.lists(st.tuples(_texts, st.integers(1, 24)), min_size=1, max_size=7)


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(mix=_mixes)
def test_any_mix_says_what_each_request_says_alone(
    engine: PagedEngine, family: str, mix: list[tuple[str, int]]
) -> None:
    futures = [engine.submit(ask(text, new=new)) for text, new in mix]

    for (text, new), future in zip(mix, futures, strict=True):
        expect_generated(family, (text,), new, future.result(SOON))


def test_a_refinement_reuses_the_whole_pages_of_its_draft(llama: PagedEngine) -> None:
    draft = llama.submit(ask("What is blue?" * 9)).result(SOON)

    refined = llama.submit(ask("What is blue?" * 9, draft.text, "Say more.")).result(SOON)

    assert draft.cached_tokens == 0
    assert 96 <= refined.cached_tokens < draft.prompt_tokens + draft.completion_tokens
    assert llama.stats.hit_rate > 0.25


def test_nothing_is_kept_where_nothing_may_be() -> None:
    engine = PagedEngine(tiny_loaded(), EngineSettings(prefix_cache_tokens=0))
    try:
        for _ in range(2):
            assert engine.submit(ask("Again and again." * 9)).result(SOON).cached_tokens == 0
    finally:
        engine.close()


def test_a_seed_draws_the_same_whoever_shares_the_batch(llama: PagedEngine) -> None:
    dice = Sampling(max_new_tokens=24, temperature=1.2, top_p=0.9, seed=11)
    alone = llama.submit(ask("Roll.", sampling=dice)).result(SOON)

    crowd = [
        llama.submit(ask("x" * size, sampling=dice.model_copy(update={"seed": size, "top_p": 1.0})))
        for size in (3, 30, 90)
    ]
    together = llama.submit(ask("Roll.", sampling=dice)).result(SOON)

    assert together.text == alone.text
    assert together.batch_size > 1
    assert len({future.result(SOON).text for future in crowd}) == 3


def test_the_mean_logprob_is_the_models_own(llama: PagedEngine) -> None:
    found = llama.submit(ask("How likely?", new=8)).result(SOON)

    tokens = generated("llama", ("How likely?",), 8)
    prompt = TOKENIZER.apply_chat_template(
        [{"role": "user", "content": "How likely?"}], add_generation_prompt=True, return_dict=True
    )["input_ids"]
    with torch.inference_mode():
        logits = tiny_model()(torch.tensor([prompt + tokens])).logits[0, len(prompt) - 1 : -1]
    logprobs = logits.log_softmax(-1).gather(-1, torch.tensor(tokens)[:, None])
    assert found.mean_logprob == pytest.approx(float(logprobs.mean()), abs=1e-4)


def test_draws_follow_temperature_and_nucleus() -> None:
    logits = torch.tensor([[2.0, 1.0, 0.0, -1.0]])
    throws = torch.arange(0.0005, 1.0, 0.001)
    rows = logits.expand(len(throws), -1)
    for warmth, top_p in ((1.0, 1.0), (0.5, 1.0), (1.0, 0.8), (2.0, 0.3)):
        drawn = draw_rows(
            rows, torch.full_like(throws, warmth), torch.full_like(throws, top_p), throws
        )

        expected = (logits[0] / warmth).softmax(-1)
        expected[expected.cumsum(0) - expected >= top_p] = 0.0
        shares = torch.bincount(drawn, minlength=4) / len(throws)
        assert torch.allclose(shares, expected / expected.sum(), atol=2e-3)


def test_a_negative_throw_takes_the_likeliest() -> None:
    logits = torch.tensor([[0.0, 3.0, 1.0], [0.0, 1.0, 3.0]])

    drawn = draw_rows(logits, torch.ones(2), torch.tensor([1.0, 0.5]), torch.tensor([-1.0, 0.1]))

    assert drawn.tolist() == [1, 2]


def test_forced_logits_choose_the_token_and_tell_its_probability() -> None:
    logits = torch.randn(5, 64)
    tokens = torch.tensor([3, 9, 0, 63, 31])

    out = forced(logits, tokens)

    assert out.argmax(-1).tolist() == tokens.tolist()
    wanted = (
        logits.log_softmax(-1).gather(-1, tokens[:, None]).clamp(min=torch.tensor(2 / 64).log())
    )
    assert torch.allclose(out.log_softmax(-1).gather(-1, tokens[:, None]), wanted, atol=1e-5)


def _break(engine: PagedEngine, error: Exception) -> None:
    library: Any = engine._library

    def fail(*_: object, **__: object) -> None:
        raise error

    library._manager.batch_processor._generation_step = fail


def test_a_fault_of_the_managers_loop_fails_what_runs_and_another_loop_begins(
    llama: PagedEngine,
) -> None:
    _break(llama, ZeroDivisionError("a bug"))

    with pytest.raises(EngineError, match="a bug"):
        llama.submit(ask("Fine.")).result(SOON)
    expect_generated("llama", ("Fine.",), 16, llama.submit(ask("Fine.")).result(SOON))


def test_a_lost_device_fails_everything_with_the_reason(llama: PagedEngine) -> None:
    _break(llama, torch.AcceleratorError("CUDA error: unspecified launch failure"))

    with pytest.raises(EngineError, match="launch failure"):
        llama.submit(ask("#")).result(SOON)
    with pytest.raises(EngineError, match="device is lost"):
        llama.submit(ask("Fine.")).result(SOON)


def test_output_that_is_no_number_fails_and_leaves_no_trace(llama: PagedEngine) -> None:
    library: Any = llama._library
    fatal = TOKENIZER.convert_tokens_to_ids("#")
    with torch.no_grad():
        library._model.get_input_embeddings().weight[fatal] = float("nan")

    # Whoever shares a step with it fails too, on the CPU: there all requests are one masked row.
    with pytest.raises(EngineError, match="not a number"):
        llama.submit(ask("# " * 40)).result(SOON)
    for text in ("Fine.", "Who is next?" * 5):
        expect_generated("llama", (text,), 16, llama.submit(ask(text)).result(SOON))


def test_a_model_that_the_manager_cannot_run_is_refused_with_advice() -> None:
    with pytest.raises(ModelUnusable, match=r"lfm2.*kind = 'openai'"):
        PagedEngine(tiny_loaded("lfm2"), EngineSettings())


def test_a_model_that_the_manager_runs_to_other_tokens_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "colm.models.engines.libraries.paged_sampler.draw_rows",
        lambda scores, *_: scores.argmin(dim=-1),
    )

    with pytest.raises(ModelUnusable, match="other tokens"):
        PagedEngine(tiny_loaded(), EngineSettings())


_FORGETFUL = """
from colm.models.engine_settings import EngineSettings
from colm.models.engines.libraries.paged import PagedEngine
from tests.unit.engines_asking import ask
from tests.unit.engines_tiny import tiny_loaded

engine = PagedEngine(tiny_loaded(), EngineSettings())
print(engine.submit(ask("Bye.")).result(60).completion_tokens, flush=True)
"""


@pytest.mark.slow
def test_a_process_that_forgets_to_close_ends_all_the_same() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _FORGETFUL], capture_output=True, text=True, timeout=120, check=False
    )

    assert (done.returncode, int(done.stdout) > 0) == (0, True), done.stderr
