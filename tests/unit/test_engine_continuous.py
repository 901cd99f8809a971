"""The transformers engine: what it generates is what the model alone would."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from functools import cache
from itertools import count
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.engine_settings import EngineSettings
from models.engines.base import GenerationRequest
from models.engines.batch import PREFILL_TOKENS
from models.engines.continuous import ContinuousEngine
from models.engines.runner import Runner
from models.engines.slots import Shape
from models.errors import Cancelled, EngineError, ModelUnusable
from models.messages import Completion, Sampling, Turn
from tests.unit.engines_tiny import DRIVEN, tiny_loaded, tiny_model, tiny_tokenizer

SOON = 30.0
_ids = count()
_tokenizer: Any = tiny_tokenizer()


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
def _generated(family: str, request_text: tuple[str, ...], new: int) -> list[int]:
    """What the model says when it is asked alone, by transformers' own `generate`."""
    model = tiny_model(family)
    prompt = _tokenizer.apply_chat_template(
        [turn.model_dump() for turn in ask(*request_text).messages],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    out: Any = model.generate(**prompt, max_new_tokens=new, do_sample=False)
    return list(out[0, prompt["input_ids"].shape[1] :].tolist())


def expect_generated(family: str, texts: tuple[str, ...], new: int, found: Completion) -> None:
    tokens = _generated(family, texts, new)
    assert found.text == _tokenizer.decode(tokens, skip_special_tokens=True)
    assert found.completion_tokens == len(tokens)
    assert found.finish_reason == ("stop" if tokens[-1] == 1 else "length")


@pytest.fixture(scope="module", params=list(DRIVEN))
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def engine(family: str) -> Iterator[ContinuousEngine]:
    engine = ContinuousEngine(
        tiny_loaded(family), EngineSettings(max_batch=3, max_batch_tokens=1200, kept_tokens=400)
    )
    yield engine
    engine.close()


@pytest.fixture
def llama() -> Iterator[ContinuousEngine]:
    engine = ContinuousEngine(tiny_loaded(), EngineSettings(max_batch=4))
    yield engine
    engine.close()


@pytest.fixture
def endless() -> Iterator[ContinuousEngine]:
    """Never ends its turn by itself, and writes no control tokens."""
    engine = ContinuousEngine(tiny_loaded(endless=True), EngineSettings(max_batch=2))
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
    engine = ContinuousEngine(tiny_loaded(), EngineSettings(kept_tokens=0))
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

    tokens = _generated("llama", ("How likely?",), 8)
    prompt = _tokenizer.apply_chat_template(
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

    assert llama.submit(ask("Now.")).result(SOON).queued_s < 0.05


def test_a_request_joins_while_another_runs_and_leaves_before_it(
    endless: ContinuousEngine,
) -> None:
    long = endless.submit(ask("A long one.", new=2000))
    short = endless.submit(ask("A short one.", new=5)).result(SOON)

    assert not long.done()
    assert short.batch_size == 2


class _Faulty:
    """A forward pass that fails for prompts that hold a certain token."""

    def __init__(self, engine: ContinuousEngine, error: Exception, token: int) -> None:
        self._runner: Any = engine._batch._runner
        self._error = error
        self._token = token
        self._model = self._runner._model
        self._runner._model = self

    def __call__(self, **inputs: Any) -> Any:
        if self._token in inputs["input_ids"].flatten().tolist():
            raise self._error
        return self._model(**inputs)


def _unused(*texts: str) -> str:
    """A letter that the answers to `texts` do not have."""
    answers = _tokenizer.decode(
        [token for text in texts for token in _generated("llama", (text,), 16)]
    )
    return next(letter for letter in "#$%&*+=@^_~|" if letter not in answers)


def _token(letter: str) -> int:
    return int(_tokenizer.convert_tokens_to_ids(letter))


def test_a_prompt_that_the_model_chokes_on_fails_alone(llama: ContinuousEngine) -> None:
    fatal = _unused("Fine.", "Fine too.")
    _Faulty(llama, RuntimeError("no room"), _token(fatal))

    futures = [llama.submit(ask(text)) for text in ("Fine.", f"Not {fatal} fine.", "Fine too.")]

    expect_generated("llama", ("Fine.",), 16, futures[0].result(SOON))
    expect_generated("llama", ("Fine too.",), 16, futures[2].result(SOON))
    with pytest.raises(EngineError, match="no room"):
        futures[1].result(SOON)


def test_a_step_that_fails_for_one_row_goes_on_for_the_others(llama: ContinuousEngine) -> None:
    texts = ("One.", "Two?", "Three!")
    drawn = {text: _generated("llama", (text,), 16) for text in texts}
    # A token that one completion has in its middle, and the others nowhere.
    others = {token for text in texts[1:] for token in drawn[text]}
    fatal = next(token for token in drawn["One."][1:] if token not in others)
    _Faulty(llama, RuntimeError("bad row"), fatal)

    futures = [llama.submit(ask(text)) for text in texts]

    with pytest.raises(EngineError, match="bad row"):
        futures[0].result(SOON)
    for text, future in zip(texts[1:], futures[1:], strict=True):
        expect_generated("llama", (text,), 16, future.result(SOON))


def test_a_fault_of_the_loop_fails_what_runs_and_the_loop_goes_on(
    llama: ContinuousEngine, caplog: pytest.LogCaptureFixture
) -> None:
    fatal = _unused("Fine.")
    # No error that a forward pass is expected to raise.
    _Faulty(llama, ZeroDivisionError("a bug"), _token(fatal))

    with pytest.raises(EngineError, match="a bug"):
        llama.submit(ask(fatal)).result(SOON)
    expect_generated("llama", ("Fine.",), 16, llama.submit(ask("Fine.")).result(SOON))
    assert "a bug" in caplog.text


def test_a_lost_device_fails_everything_with_the_reason(
    llama: ContinuousEngine, caplog: pytest.LogCaptureFixture
) -> None:
    _Faulty(llama, torch.AcceleratorError("CUDA error: unspecified launch failure"), _token("#"))

    with pytest.raises(EngineError, match="launch failure"):
        llama.submit(ask("#")).result(SOON)
    with pytest.raises(EngineError, match="restart the worker"):
        llama.submit(ask("Fine.")).result(SOON)
    assert "the device is lost" in caplog.text


def test_output_that_is_no_number_fails_its_own_row_and_leaves_no_trace(
    llama: ContinuousEngine,
) -> None:
    runner: Any = llama._batch._runner
    embedding = runner._model.get_input_embeddings()
    later = ("Who?", "Who is next?" * 5, "Who else?", "Who is the last of all?")
    fatal = _unused("Fine.", "So am I.", *later)
    with torch.no_grad():
        embedding.weight[_token(fatal)] = float("nan")

    futures = [llama.submit(ask(text)) for text in (f"{fatal} " * 40, "Fine.", "So am I.")]

    with pytest.raises(EngineError, match="not a number"):
        futures[0].result(SOON)
    for text, future in (("Fine.", futures[1]), ("So am I.", futures[2])):
        expect_generated("llama", (text,), 16, future.result(SOON))
    # Rows of different length: the shorter ones see, behind a mask, what was there before them.
    for text, future in [(text, llama.submit(ask(text))) for text in later]:
        expect_generated("llama", (text,), 16, future.result(SOON))


def test_a_prompt_for_which_there_is_no_memory_fails_alone(
    llama: ContinuousEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner: Any = llama._batch._runner
    reserve = runner.reserve

    def short_of_memory(need: Shape, *, rows: int) -> None:
        if need.tokens > 1000:
            raise torch.OutOfMemoryError("no memory left")
        reserve(need, rows=rows)

    monkeypatch.setattr(runner, "reserve", short_of_memory)

    futures = [llama.submit(ask(text)) for text in ("Fine.", "long " * 250, "Fine too.")]

    with pytest.raises(EngineError, match="no memory left"):
        futures[1].result(SOON)
    expect_generated("llama", ("Fine.",), 16, futures[0].result(SOON))
    expect_generated("llama", ("Fine too.",), 16, futures[2].result(SOON))


class _Gated:
    """A forward pass that stops at a gate the first time."""

    def __init__(self, engine: ContinuousEngine) -> None:
        self.reached, self.open = threading.Event(), threading.Event()
        runner: Any = engine._batch._runner
        self._model = runner._model
        runner._model = self

    def __call__(self, **inputs: Any) -> Any:
        self.reached.set()
        assert self.open.wait(SOON)
        return self._model(**inputs)


def test_a_request_may_be_cancelled_while_its_prompt_is_prefilled(llama: ContinuousEngine) -> None:
    gate = _Gated(llama)
    doomed = ask("abcdefgh" * 300)

    future = llama.submit(doomed)
    assert gate.reached.wait(SOON)
    assert llama.cancel(doomed.request_id)
    gate.open.set()

    with pytest.raises(Cancelled):
        future.result(0)
    expect_generated("llama", ("Next.",), 16, llama.submit(ask("Next.")).result(SOON))
    assert llama.stats.completion_tokens == len(_generated("llama", ("Next.",), 16))


def test_closing_does_not_wait_for_a_pass_that_hangs(
    llama: ContinuousEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.engines.continuous.CLOSE_TIMEOUT", 0.1)
    gate = _Gated(llama)
    future = llama.submit(ask("Hang."))
    assert gate.reached.wait(SOON)

    started = time.monotonic()
    llama.close()

    assert time.monotonic() - started < 2.0
    with pytest.raises(Cancelled):
        future.result(0)
    gate.open.set()


def test_many_threads_may_submit_and_cancel_at_once(llama: ContinuousEngine) -> None:
    failures: list[BaseException] = []

    def work(name: int) -> None:
        try:
            for visit in range(6):
                request = ask(f"Thread {name}", new=6, conversation=f"t{name}")
                future: Future[Completion] = llama.submit(request)
                if visit % 3 == 2 and llama.cancel(request.request_id):
                    continue
                expect_generated("llama", (f"Thread {name}",), 6, future.result(SOON))
        except BaseException as error:  # noqa: BLE001 - reported below, in the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON)

    assert not failures
    assert not any(thread.is_alive() for thread in threads)


@pytest.mark.parametrize(
    ("family", "why"),
    [
        ("lfm2", "LinearAttentionLayer"),
        ("gpt-oss", "attention scores in a way of its own"),
        ("gemma3-bidirectional", "masks attention in a way of its own"),
    ],
)
def test_a_model_that_slots_cannot_hold_is_refused_with_advice(family: str, why: str) -> None:
    with pytest.raises(ModelUnusable, match=rf"{family}.*{why}.*kind = 'openai'"):
        ContinuousEngine(tiny_loaded(family), EngineSettings())


def test_a_model_that_masks_in_its_own_way_is_refused_with_advice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loaded = tiny_loaded()
    # Ignores the mask in the batch, as a model with private attention code would.
    monkeypatch.setattr(
        "models.engines.attention.scaled_dot_product_attention",
        lambda query, key, value, _, scale: torch.nn.functional.scaled_dot_product_attention(
            query, key, value, scale=scale
        ),
    )

    with pytest.raises(ModelUnusable, match=r"logits differ.*kind = 'openai'"):
        Runner(loaded, max_tokens=256)
