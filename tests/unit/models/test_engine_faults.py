"""The transformers engine in trouble: faults, cancellations, models that it cannot drive."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from typing import Any

import pytest
import torch

from colm.models.engine_settings import EngineSettings
from colm.models.engines.native.engine import ContinuousEngine
from colm.models.engines.native.kv_cache import CacheShape
from colm.models.engines.native.model_runner import Runner
from colm.models.errors import Cancelled, EngineError, EngineLost, ModelUnusable
from colm.models.messages import Completion
from tests.unit.engines_asking import SOON, TOKENIZER, ask, expect_generated, generated, llama
from tests.unit.engines_tiny import tiny_loaded

__all__ = ["llama"]  # a fixture


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


def _unused(*texts: str, new: int = 16) -> str:
    """A letter that the answers to `texts` do not have."""
    answers = TOKENIZER.decode(
        [token for text in texts for token in generated("llama", (text,), new)]
    )
    return next(letter for letter in "#$%&*+=@^_~|" if letter not in answers)


def _token(letter: str) -> int:
    return int(TOKENIZER.convert_tokens_to_ids(letter))


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
    drawn = {text: generated("llama", (text,), 16) for text in texts}
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
    fatal = _unused("Fine.", new=96)
    # No error that a forward pass is expected to raise.
    _Faulty(llama, ZeroDivisionError("a bug"), _token(fatal))

    with pytest.raises(EngineError, match="a bug"):
        llama.submit(ask(fatal)).result(SOON)
    expect_generated("llama", ("Fine.",), 16, llama.submit(ask("Fine.")).result(SOON))
    assert "a bug" in caplog.text


def test_a_prompt_that_cannot_be_made_fails_at_once_with_the_reason(
    llama: ContinuousEngine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def faulty(*_: Any) -> None:
        raise ZeroDivisionError("a template's")

    with monkeypatch.context() as patched:
        patched.setattr(llama._tokenizer, "prompt", faulty)
        future = llama.submit(ask("Fine."))
        assert isinstance(future.exception(0), EngineError)
        assert "a template's" in str(future.exception(0))
    assert "Traceback" in caplog.text
    expect_generated("llama", ("Fine.",), 16, llama.submit(ask("Fine.")).result(SOON))


@pytest.mark.parametrize("where", ["reserve", "copy_in"])
def test_a_request_is_not_forgotten_by_a_fault_while_it_enters(
    llama: ContinuousEngine, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    llama.submit(ask("Fine.", conversation="c")).result(SOON)

    def faulty(*_: Any, **__: Any) -> None:
        raise TypeError("a bug")

    with monkeypatch.context() as patched:
        patched.setattr(llama._batch._runner, where, faulty)
        with pytest.raises(EngineError, match="a bug"):
            llama.submit(ask("Fine.", conversation="c")).result(SOON)
    expect_generated("llama", ("Fine.",), 16, llama.submit(ask("Fine.")).result(SOON))


def test_nobody_waits_for_an_engine_whose_thread_has_ended(
    llama: ContinuousEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    class PanicException(BaseException):
        """As a library in Rust raises it."""

    def panic(*_: Any) -> None:
        raise PanicException("index out of bounds")

    monkeypatch.setattr("threading.excepthook", lambda _: None)
    monkeypatch.setattr(llama._batch, "step", panic)
    for text in ("Fine.", "Fine too."):
        with pytest.raises(EngineLost, match="thread has ended"):
            llama.submit(ask(text)).result(SOON)


def test_a_lost_device_fails_everything_with_the_reason(
    llama: ContinuousEngine, caplog: pytest.LogCaptureFixture
) -> None:
    _Faulty(llama, torch.AcceleratorError("CUDA error: unspecified launch failure"), _token("#"))

    with pytest.raises(EngineError, match="launch failure"):
        llama.submit(ask("#")).result(SOON)
    with pytest.raises(EngineError, match="device is lost"):
        llama.submit(ask("Fine.")).result(SOON)
    assert "the device is lost" in caplog.text


def test_a_first_token_that_is_no_number_leaves_rows_that_run_alone(
    llama: ContinuousEngine,
) -> None:
    runner: Any = llama._batch._runner
    embedding = runner._model.get_input_embeddings()
    fatal = _unused("Fine.", new=96)
    with torch.no_grad():
        embedding.weight[_token(fatal)] = float("nan")

    running = llama.submit(ask("Fine.", new=96))
    until = time.monotonic() + SOON
    while not llama.stats.steps and time.monotonic() < until:
        time.sleep(0.001)
    with pytest.raises(EngineError, match="not a number"):
        llama.submit(ask(f"{fatal} ")).result(SOON)

    expect_generated("llama", ("Fine.",), 96, running.result(SOON))


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

    def short_of_memory(need: CacheShape, *, rows: int) -> None:
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
    assert llama.stats.completion_tokens == len(generated("llama", ("Next.",), 16))


def test_closing_does_not_wait_for_a_pass_that_hangs(
    llama: ContinuousEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("colm.models.engines.native.base.CLOSE_TIMEOUT", 0.1)
    gate = _Gated(llama)
    future = llama.submit(ask("Hang."))
    assert gate.reached.wait(SOON)

    started = time.monotonic()
    llama.close()

    assert time.monotonic() - started < 10.0
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
        "colm.models.engines.native.attention.scaled_dot_product_attention",
        lambda query, key, value, _, scale: torch.nn.functional.scaled_dot_product_attention(
            query, key, value, scale=scale
        ),
    )

    with pytest.raises(ModelUnusable, match=r"logits differ.*kind = 'openai'"):
        Runner(loaded, max_tokens=256)
