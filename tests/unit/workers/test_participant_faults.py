"""Steps that end by a fault of their participant, and the set-up of its process."""

from __future__ import annotations

import time
from concurrent.futures import CancelledError, Future
from typing import Any

import pytest

from colm.models.engine_settings import EngineSettings
from colm.models.engines.base import GenerationRequest
from colm.models.errors import SettingsError
from colm.models.messages import Attempt, Completion, Step, StepError
from colm.tasks.config.settings import ParticipantSettings
from colm.workers.engine_loader import endpoint_secrets, load_engine
from colm.workers.participant import process
from colm.workers.participant.generator import EngineGenerator
from tests.unit.examples import NOW, a_completion, a_step
from tests.unit.workers.test_participant import HandEngine, QuickEngine, Worker, generator


def test_a_half_of_a_surrogate_pair_is_replaced_and_the_rest_of_the_text_kept() -> None:
    assert a_completion("a\ud83db \ud83d\ude00\x00").text == "a\ufffdb \U0001f600\ufffd"


@pytest.mark.parametrize("worker", ["w", "client-" + "x" * 500])
def test_a_workers_own_name_makes_no_submission_or_attempt_unusable(worker: str) -> None:
    made = Worker(
        QuickEngine(a_completion()), ["ada"], "client", worker=worker, clock=lambda: NOW,
        monotonic=lambda: 1000.0,
    )  # fmt: skip
    assert made.submission(a_step()).completion is not None
    assert isinstance(made.generate(a_step(act="refine"), redelivered=True), Attempt)


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (TypeError("object of type 'NoneType' has no len()"), "object of type 'NoneType'"),
        (CancelledError(), "CancelledError()"),
        (MemoryError(), "MemoryError()"),
        (ValueError("half an emoji: \ud83d"), "half an emoji: ?"),
    ],
)
def test_a_fault_that_nobody_expected_ends_its_step_at_once_with_the_reason(
    fault: Exception, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    class Faulty(HandEngine):
        def submit(self, request: GenerationRequest) -> Future[Completion]:
            future = super().submit(request)
            if isinstance(fault, CancelledError):
                future.set_exception(fault)
                return future
            raise fault

    engine = Faulty()
    worker = generator(engine)
    error = worker.submission(a_step()).error
    assert error is not None
    assert (error.kind, error.reason[: len(told)]) == (type(fault).__name__, told)
    assert "Traceback" in caplog.text
    # It is kept like any other end, and the worker forgets that the step was running.
    assert worker.submission(a_step()).error == error
    assert len(engine.requests) == 1
    assert worker.waiting_since() is None


def test_images_that_cannot_be_had_for_any_reason_end_the_step_with_it() -> None:
    def images_of(_: Step) -> dict[str, bytes]:
        raise LookupError("no such store")

    engine = HandEngine()
    worker = Worker(engine, ["ada"], "client", worker="w", clock=lambda: NOW, images_of=images_of)
    error = worker.submission(a_step()).error
    assert error == StepError(kind="LookupError", reason="no such store")
    assert engine.requests == []


SCRIPTED = ParticipantSettings(engine=EngineSettings(kind="scripted"))
SLOWER = ParticipantSettings(engine=EngineSettings(kind="scripted", delay=1, threads=3))


def test_clients_share_a_process_only_if_they_share_an_engine() -> None:
    table = {"ada": SCRIPTED, "bo": SCRIPTED, "cy": SLOWER}
    assert process._shared_engine(table, ["ada", "bo"], "client", None) == SCRIPTED.engine
    with pytest.raises(SettingsError, match="ada, cy are configured with different engines"):
        process._shared_engine(table, ["ada", "cy"], "client", None)
    with pytest.raises(SettingsError, match=r"no \[clients.boo\] is configured; .* 'bo'"):
        process._shared_engine(table, ["boo"], "client", None)


def _with_adapter(adapter: str | None, **engine: Any) -> ParticipantSettings:
    return ParticipantSettings(engine=EngineSettings(adapter=adapter, **engine))


def test_clients_whose_engines_differ_in_their_adapters_share_a_process() -> None:
    table = {"ada": _with_adapter("a"), "bo": _with_adapter("b"), "cy": _with_adapter(None)}
    assert process._shared_engine(table, list(table), "client", None) == EngineSettings()
    assert process._adapters(table, list(table)) == {"ada": "a", "bo": "b"}
    # Of one adapter the engine itself knows, so that its info names it.
    assert process._shared_engine(table, ["ada"], "client", None).adapter == "a"
    merged = {name: _with_adapter(name, merge_adapter=True) for name in ("ada", "bo")}
    with pytest.raises(SettingsError, match="different engines"):
        process._shared_engine(merged, ["ada", "bo"], "client", None)


def test_each_step_is_generated_with_the_adapter_of_its_participant() -> None:
    engine = HandEngine()
    worker = EngineGenerator(
        engine, ["ada", "bo"], "client", worker="w", clock=lambda: NOW, adapters={"ada": "a"}
    )
    for name in ("ada", "bo"):
        worker._start(a_step().model_copy(update={"participant": name}), {})
    assert [request.adapter for request in engine.requests] == ["a", None]


def test_threads_of_the_command_line_fill_in_where_the_engine_says_nothing() -> None:
    table = {"ada": SCRIPTED, "cy": SLOWER}
    assert process._shared_engine(table, ["ada"], "client", 2).threads == 2
    assert process._shared_engine(table, ["cy"], "client", 2).threads == 3


def test_an_engine_is_loaded_as_its_settings_say() -> None:
    engine = load_engine(EngineSettings(kind="scripted", reply="Hello.", max_num_seqs=3))
    try:
        assert engine.info.capacity == 3
        submission = Worker(
            engine, ["ada"], "client", worker="w", clock=lambda: NOW, monotonic=time.monotonic
        ).submission(a_step())
    finally:
        engine.close()
    assert submission.completion is not None
    assert submission.completion.text == "Hello."


def test_a_key_that_is_not_set_is_named_before_anything_is_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    found = EngineSettings(
        kind="openai", model="m", base_url="http://localhost:1/v1", api_key_env="NO_SUCH_KEY"
    )
    with pytest.raises(SettingsError, match="NO_SUCH_KEY is not set"):
        load_engine(found)


def test_secret_headers_come_out_of_the_variables_that_the_settings_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GATEWAY_KEY", "s3cret")
    found = EngineSettings(
        kind="openai", base_url="http://h/v1", extra_headers_env={"api-key": "GATEWAY_KEY"}
    )
    assert endpoint_secrets(found) == (None, {"api-key": "s3cret"})
    engine = load_engine(found)
    engine.close()
    assert "s3cret" not in repr(engine.info)
