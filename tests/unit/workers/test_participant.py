"""A participant's worker: each step is generated once, and every end of it is a submission."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from typing import Any, NoReturn

import pytest

from colm.models.cancellation import CancelSteps
from colm.models.engines.base import EngineInfo, EngineStats, GenerationRequest
from colm.models.errors import (
    Cancelled,
    ColmError,
    EngineError,
    EngineLost,
    PromptTooLong,
    TransientError,
)
from colm.models.messages import (
    MAX_COMPLETION_CHARS,
    MAX_REASON_CHARS,
    Completion,
    Step,
    StepError,
    Submission,
)
from colm.workers.participant import generator as generating
from colm.workers.participant.generator import KEPT_SUBMISSIONS, EngineGenerator
from tests.unit.examples import NOW, a_completion, a_step, seconds


class HandEngine:
    """An engine whose requests are answered by hand."""

    info = EngineInfo(
        engine="hand", model="none", dtype="", device="", context_length=None, capacity=4
    )
    stats = EngineStats()
    progress_counter = 0

    def __init__(self) -> None:
        self.requests: list[GenerationRequest] = []
        self.futures: list[Future[Completion]] = []
        self.cancelled: list[str] = []
        self.submitted = threading.Semaphore(0)

    def submit(self, request: GenerationRequest) -> Future[Completion]:
        self.requests.append(request)
        self.futures.append(Future())
        self.submitted.release()
        return self.futures[-1]

    def cancel(self, request_id: str) -> bool:
        self.cancelled.append(request_id)
        return True

    def close(self) -> None: ...


class QuickEngine(HandEngine):
    """Answers at once, with `result`."""

    def __init__(self, result: Completion | EngineError) -> None:
        super().__init__()
        self.result = result

    def submit(self, request: GenerationRequest) -> Future[Completion]:
        future = super().submit(request)
        if isinstance(self.result, Completion):
            future.set_result(self.result)
        else:
            future.set_exception(self.result)
        return future


class Worker(EngineGenerator):
    """Of whom a step delivered once is expected to end in a submission."""

    def submission(self, step: Step) -> Submission:
        found = self.generate(step)
        assert isinstance(found, Submission)
        return found


def generator(engine: HandEngine, now: datetime = NOW) -> Worker:
    return Worker(
        engine, ["ada", "bo"], "client", worker="client@test", clock=lambda: now,
        monotonic=lambda: 1000.0,
    )  # fmt: skip


def test_a_step_becomes_one_request_with_its_own_limits() -> None:
    engine = QuickEngine(a_completion("Because."))
    step = a_step(deadline=20)
    submission = generator(engine).submission(step)
    (request,) = engine.requests
    assert (request.request_id, request.conversation) == (step.step_id, "query-0001.ada")
    assert (request.messages, request.sampling) == (step.messages, step.sampling)
    assert request.deadline == 1020.0
    assert submission.completion == a_completion("Because.")
    assert (submission.step_id, submission.worker) == (step.step_id, "client@test")


def test_a_draft_and_its_refinement_are_one_conversation() -> None:
    engine = QuickEngine(a_completion())
    worker = generator(engine)
    for step in (a_step(), a_step(act="refine"), a_step("bo")):
        worker.submission(step)
    conversations = [request.conversation for request in engine.requests]
    assert conversations == ["query-0001.ada", "query-0001.ada", "query-0001.bo"]


def test_a_step_that_comes_again_repeats_its_submission_without_generating() -> None:
    engine = QuickEngine(a_completion("once"))
    worker = generator(engine)
    first = worker.submission(a_step())
    engine.result = a_completion("twice")
    assert worker.submission(a_step()) is first
    assert len(engine.requests) == 1


def test_a_step_that_failed_repeats_its_failure() -> None:
    engine = QuickEngine(EngineError("no memory"))
    worker = generator(engine)
    assert worker.submission(a_step()) == worker.submission(a_step())
    assert len(engine.requests) == 1


@pytest.fixture
def hand() -> Iterator[HandEngine]:
    engine = HandEngine()
    yield engine
    for future in [f for f in engine.futures if not f.done()]:
        future.set_result(a_completion())


def test_a_step_that_comes_again_meanwhile_joins_the_generation_under_way(
    hand: HandEngine,
) -> None:
    worker = generator(hand)
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(worker.submission(a_step())))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    assert hand.submitted.acquire(timeout=5)
    hand.futures[0].set_result(a_completion("one for all"))
    for thread in threads:
        thread.join(timeout=5)
    assert len(hand.requests) == 1
    assert len(results) == 4
    assert {r.completion.text for r in results if r.completion} == {"one for all"}


def test_a_step_past_its_deadline_is_failed_without_generating() -> None:
    engine = QuickEngine(a_completion())
    submission = generator(engine, NOW + seconds(21.5)).submission(a_step(deadline=20))
    assert submission.error is not None
    assert submission.error.kind == "DeadlineExceeded"
    assert submission.error.reason == "reached client@test 1.5 s too late"
    assert engine.requests == []


def test_a_finished_step_is_repeated_even_past_its_deadline() -> None:
    engine, moment = QuickEngine(a_completion()), [NOW]
    worker = Worker(engine, ["ada"], "client", worker="w", clock=lambda: moment[0])
    first = worker.submission(a_step())
    moment[0] += seconds(60)
    assert worker.submission(a_step()) == first


def test_an_engines_error_is_a_failure_with_its_kind() -> None:
    engine = QuickEngine(PromptTooLong("the prompt has 900 tokens, the context 512"))
    submission = generator(engine).submission(a_step())
    assert submission.error is not None
    assert submission.error.kind == "PromptTooLong"
    assert submission.error.reason == "the prompt has 900 tokens, the context 512"


def test_a_reason_of_any_length_can_be_sent() -> None:
    submission = generator(QuickEngine(EngineError("x" * 10_000))).submission(a_step())
    assert submission.error is not None
    assert len(submission.error.reason) == MAX_REASON_CHARS


def test_an_engine_that_hangs_is_withdrawn_from_and_the_step_failed(
    hand: HandEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generating, "HANG_GRACE", 0.05)
    submission = generator(hand, NOW + seconds(19.99)).submission(a_step(deadline=20))
    assert submission.error is not None
    assert submission.error.kind == "EngineHangs"
    assert hand.cancelled == [a_step().step_id]


def test_a_completion_too_long_to_send_is_a_failure() -> None:
    text = "x" * (MAX_COMPLETION_CHARS + 1)
    endless = a_completion().model_copy(update={"text": text})  # an engine that forgot its limit
    error = generator(QuickEngine(endless)).submission(a_step()).error
    assert error is not None
    assert error.kind == "CompletionTooLong"


@pytest.mark.parametrize(
    ("text", "reason", "why"),
    [
        ("", "stop", "the model ended its turn without text"),
        (" \n\t", "stop", "the model ended its turn without text"),
        ("\u200b\ufeff", "length", "all 3 tokens were spent without text: raise max_new_tokens"),
    ],
)
def test_a_completion_without_text_is_a_failure_of_every_engine(
    text: str, reason: str, why: str
) -> None:
    engine = QuickEngine(a_completion(text, finish_reason=reason))
    error = generator(engine).submission(a_step()).error
    assert error == StepError(kind="NoText", reason=why)


@pytest.mark.parametrize(
    ("reason", "why"),
    [
        ("length", "all 3 tokens went into reasoning: raise max_new_tokens"),
        ("stop", "the model reasoned and ended its turn without text"),
    ],
)
def test_a_completion_that_is_only_a_thought_is_a_failure_that_says_so(
    reason: str, why: str
) -> None:
    engine = QuickEngine(a_completion("", thought="so 41?", finish_reason=reason))
    error = generator(engine).submission(a_step()).error
    assert error == StepError(kind="NoText", reason=why)


def test_what_was_chosen_by_its_likelihood_needs_no_text_that_shows() -> None:
    step = a_step().model_copy(update={"choices": (" ", "B")})
    engine = QuickEngine(a_completion(" ", choice_logprobs={" ": -0.1}))
    submission = generator(engine).submission(step)
    assert submission.completion is not None


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"model": "m" * 401}, "completion.model: String should have at most 400 characters"),
        ({"mean_logprob": float("nan")}, "completion.mean_logprob: Input should be a finite"),
        ({"prompt_tokens": -1}, "completion.prompt_tokens: Input should be greater than"),
        ({"seed": 2**63}, "completion.seed: Input should be less than"),
    ],
)
def test_a_completion_that_no_message_can_carry_is_a_failure_that_says_why(
    changes: dict[str, Any], why: str
) -> None:
    unusable = a_completion().model_copy(update=changes)  # an engine that forgot a limit
    error = generator(QuickEngine(unusable)).submission(a_step()).error
    assert error is not None
    assert error.kind == "UnusableCompletion"
    assert error.reason.startswith(why)


class BrokenEngine(HandEngine):
    """Fails where no engine should."""

    def submit(self, request: GenerationRequest) -> Future[Completion]:
        raise KeyError(request.request_id)


def test_a_fault_of_the_worker_ends_the_step_at_once_with_its_reason() -> None:
    error = generator(BrokenEngine()).submission(a_step()).error
    assert error is not None
    assert error.kind == "KeyError"
    assert a_step().step_id in error.reason


@pytest.mark.parametrize("raised", [EngineLost("the device is gone"), TransientError("away")])
def test_what_another_try_may_mend_is_no_failure_of_the_step(raised: ColmError) -> None:
    worker = Worker(
        HandEngine(), ["ada"], "client", worker="w", clock=lambda: NOW, end_process=lambda: None,
        images_of=lambda _: raise_(raised),
    )  # fmt: skip
    with pytest.raises(type(raised)):
        worker.generate(a_step())


def raise_(error: ColmError) -> NoReturn:
    raise error


def test_only_so_many_submissions_are_kept() -> None:
    engine = QuickEngine(a_completion())
    worker = generator(engine)
    for number in range(KEPT_SUBMISSIONS + 1):
        worker.submission(a_step(query_id=f"query-{number:04}"))
    worker.submission(a_step(query_id=f"query-{KEPT_SUBMISSIONS:04}"))
    assert len(engine.requests) == KEPT_SUBMISSIONS + 1
    worker.submission(a_step(query_id="query-0000"))
    assert len(engine.requests) == KEPT_SUBMISSIONS + 2


@pytest.mark.parametrize(
    ("step", "serves"),
    [
        (a_step("ada"), True),
        (a_step("bo", "refine"), True),
        (a_step("cy"), False),
        (a_step("ada", "synthesize", role="server"), False),
    ],
)
def test_a_worker_serves_its_own_names_in_its_own_role(step: Step, serves: bool) -> None:
    assert generator(HandEngine()).serves(step) == serves


def test_a_running_step_is_stopped_and_one_that_comes_later_is_not_begun(
    hand: HandEngine,
) -> None:
    worker = generator(hand)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(worker.submission, a_step())
        assert hand.submitted.acquire(timeout=5)
        assert worker.stop(CancelSteps(query_id="query-0001")) == 1
        assert hand.cancelled == [a_step().step_id]
        hand.futures[0].set_exception(Cancelled("withdrawn"))
        assert running.result(30).error == StepError(kind="Cancelled", reason="withdrawn")
    later = worker.submission(a_step(act="refine"))
    assert later.error is not None
    assert later.error.kind == "Cancelled"
    assert len(hand.requests) == 1


def test_a_stop_of_one_step_leaves_the_others_of_its_query() -> None:
    worker = generator(QuickEngine(a_completion()))
    assert worker.stop(CancelSteps(query_id="query-0001", step_ids=(a_step().step_id,))) == 0
    assert worker.submission(a_step()).completion is None
    assert worker.submission(a_step(act="refine")).completion is not None
