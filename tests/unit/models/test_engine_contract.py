"""What every engine promises, whatever runs beneath it."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path

import pytest

from colm.models.engine_settings import EngineSettings
from colm.models.engines.base import Engine, GenerationRequest
from colm.models.engines.libraries.paged import PagedEngine
from colm.models.engines.native.engine import ContinuousEngine
from colm.models.engines.openai.engine import OpenAIEngine
from colm.models.engines.scripted import ScriptedEngine
from colm.models.errors import Cancelled, DeadlineExceeded, EngineError, PromptTooLong
from colm.models.messages import Completion, Lane, Sampling, Turn
from tests.unit.engines_endpoint import HOLD, running_endpoint
from tests.unit.engines_tiny import tiny_loaded

#: Seconds within which an engine that is not stuck has done what it was asked.
SOON = 20.0

_ids = count()


@dataclass(frozen=True, kw_only=True)
class Rig:
    """One kind of engine, twice: `quick` replies soon, `slow` not before it is told to stop."""

    quick: Engine
    slow: Engine
    #: Keeps the slow engine busy for longer than any test waits.
    slow_request: Callable[[], GenerationRequest]


def ask(
    text: str = "Tell me of the sea.",
    *,
    deadline: float | None = None,
    lane: Lane = "interactive",
    request_id: str | None = None,
    sampling: Sampling | None = None,
) -> GenerationRequest:
    return GenerationRequest(
        request_id=request_id or f"r{next(_ids)}",
        messages=(Turn(role="system", content="Be brief."), Turn(role="user", content=text)),
        sampling=sampling or Sampling(max_new_tokens=12, temperature=0.0),
        deadline=deadline,
        lane=lane,
    )


def _scripted() -> Iterator[Rig]:
    settings = EngineSettings(kind="scripted", max_num_seqs=4, max_model_len=4096)
    quick = ScriptedEngine(settings)
    slow = ScriptedEngine(settings.model_copy(update={"delay": 60.0}))
    yield Rig(quick=quick, slow=slow, slow_request=ask)
    quick.close()
    slow.close()


def _openai() -> Iterator[Rig]:
    with running_endpoint() as endpoint:
        settings = EngineSettings(
            kind="openai", model="m", base_url=endpoint.url, max_num_seqs=4, retries=0
        )
        engine = OpenAIEngine(settings, api_key="k-123")
        yield Rig(quick=engine, slow=engine, slow_request=lambda: ask(HOLD))
        engine.close()


def _continuous() -> Iterator[Rig]:
    engine = ContinuousEngine(tiny_loaded(endless=True), EngineSettings(max_num_seqs=4))
    endless = Sampling(max_new_tokens=4000, temperature=0.0)
    yield Rig(quick=engine, slow=engine, slow_request=lambda: ask("!", sampling=endless))
    engine.close()


def _paged() -> Iterator[Rig]:
    engine = PagedEngine(tiny_loaded(endless=True), EngineSettings(kind="paged", max_num_seqs=4))
    endless = Sampling(max_new_tokens=4000, temperature=0.0)
    yield Rig(quick=engine, slow=engine, slow_request=lambda: ask("!", sampling=endless))
    engine.close()


def _openvino() -> Iterator[Rig]:
    pytest.importorskip("openvino_genai", reason="the extra 'openvino' is not installed")
    from colm.models.engines.libraries.openvino import OpenVINOEngine

    settings = EngineSettings(
        kind="openvino", model=str(tiny_openvino()), max_num_seqs=4, dtype="float32"
    )
    engine = OpenVINOEngine(settings)
    endless = Sampling(max_new_tokens=4000, temperature=0.0)
    yield Rig(quick=engine, slow=engine, slow_request=lambda: ask("!", sampling=endless))
    engine.close()


@cache
def tiny_openvino() -> Path:
    """A folder for the whole session: to convert takes seconds."""
    from colm.models.engines.libraries.openvino_export import export

    folder = Path(tempfile.mkdtemp(prefix="colm-tiny-")) / "model"
    export(tiny_loaded(endless=True), folder, half=False)
    atexit.register(shutil.rmtree, folder.parent, ignore_errors=True)
    return folder


@pytest.fixture(
    params=[_scripted, _openai, _continuous, _paged, _openvino],
    ids=["scripted", "openai", "continuous", "paged", "openvino"],
)
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    yield from request.param()


def wait(future: Future[Completion]) -> Completion:
    return future.result(SOON)


def test_a_completion_says_what_it_cost_and_what_made_it(rig: Rig) -> None:
    completion = wait(rig.quick.submit(ask()))

    info = rig.quick.info
    assert completion.text
    assert (completion.engine, completion.model) == (info.engine, info.model)
    assert (completion.dtype, completion.device) == (info.dtype, info.device)
    assert completion.prompt_tokens > 0
    assert 0 < completion.completion_tokens <= 12
    assert 0 <= completion.queued_s <= completion.total_s < SOON


def test_the_same_request_with_the_same_seed_gets_the_same_text(rig: Rig) -> None:
    sampling = Sampling(max_new_tokens=12, temperature=0.9, top_p=0.8, seed=5)

    texts = {wait(rig.quick.submit(ask(sampling=sampling))).text for _ in range(3)}

    assert len(texts) == 1


def test_requests_that_share_a_batch_get_what_each_gets_alone(rig: Rig) -> None:
    questions = [f"Question number {number}" * (1 + number % 4) for number in range(12)]
    alone = [wait(rig.quick.submit(ask(question))).text for question in questions]

    with ThreadPoolExecutor(6) as threads:
        together = threads.map(lambda question: rig.quick.submit(ask(question)), questions)

    assert [wait(future).text for future in together] == alone
    assert len(set(alone)) > len(alone) / 2


def test_a_completion_stops_at_its_length(rig: Rig) -> None:
    completion = wait(rig.quick.submit(ask(sampling=Sampling(max_new_tokens=3, temperature=0.0))))

    assert completion.finish_reason == "length"
    assert completion.completion_tokens == 3


def test_a_completion_ends_before_its_stop_string(rig: Rig) -> None:
    whole = wait(rig.quick.submit(ask())).text
    stop = whole[4:6]

    completion = wait(
        rig.quick.submit(
            ask(sampling=Sampling(max_new_tokens=12, temperature=0.0, stop=("never", stop)))
        )
    )

    assert completion.text.strip() == whole[: whole.index(stop)].strip()
    assert completion.finish_reason == "stop"


@pytest.mark.alone
def test_submitting_does_not_wait_for_what_runs(rig: Rig) -> None:
    started = time.monotonic()
    futures = [rig.slow.submit(rig.slow_request()) for _ in range(12)]

    assert time.monotonic() - started < 2.0
    assert not any(future.done() for future in futures)


@pytest.mark.alone
def test_a_cancelled_request_raises_at_once_and_leaves_the_others_alone(rig: Rig) -> None:
    doomed, other = rig.slow_request(), rig.slow_request()
    first, second = rig.slow.submit(doomed), rig.slow.submit(other)

    assert rig.slow.cancel(doomed.request_id)

    with pytest.raises(Cancelled):
        first.result(1.0)
    assert not rig.slow.cancel(doomed.request_id)
    assert not second.done()


def test_what_is_unknown_or_finished_cannot_be_cancelled(rig: Rig) -> None:
    request = ask()
    wait(rig.quick.submit(request))

    assert not rig.quick.cancel(request.request_id)
    assert not rig.quick.cancel("nobody")


def test_cancelled_requests_make_room_for_those_that_wait(rig: Rig) -> None:
    crowd = [rig.slow_request() for _ in range(8)]
    for request in crowd:
        rig.slow.submit(request)
    waiting = rig.quick.submit(ask("Am I next?"))

    for request in crowd:
        rig.slow.cancel(request.request_id)

    assert wait(waiting).text


@pytest.mark.alone
def test_a_deadline_ends_a_request_that_runs(rig: Rig) -> None:
    deadline = time.monotonic() + 0.2
    slow = rig.slow_request()
    future = rig.slow.submit(
        GenerationRequest(
            request_id=slow.request_id,
            messages=slow.messages,
            sampling=slow.sampling,
            deadline=deadline,
        )
    )

    with pytest.raises(DeadlineExceeded):
        future.result(SOON)
    assert 0 <= time.monotonic() - deadline < 2.0


def test_a_deadline_ends_a_request_that_waits(rig: Rig) -> None:
    for _ in range(8):
        rig.slow.submit(rig.slow_request())

    future = rig.slow.submit(ask(HOLD, deadline=time.monotonic() + 0.2))

    with pytest.raises(DeadlineExceeded):
        future.result(SOON)


def test_a_deadline_in_the_past_is_refused_at_once(rig: Rig) -> None:
    future = rig.quick.submit(ask(deadline=time.monotonic() - 1))

    with pytest.raises(DeadlineExceeded):
        future.result(0)


def test_a_prompt_that_does_not_fit_names_both_lengths_and_harms_nobody(rig: Rig) -> None:
    good = rig.quick.submit(ask())
    long = rig.quick.submit(ask("word " * 5000))

    with pytest.raises(PromptTooLong, match=r"(?s)\d{4}.*4096|4096.*\d{4}"):
        long.result(SOON)
    assert wait(good).text


@pytest.mark.alone
def test_an_id_names_one_open_request_at_a_time(rig: Rig) -> None:
    request = rig.slow_request()
    first = rig.slow.submit(request)
    second = rig.slow.submit(request)

    with pytest.raises(EngineError, match="already"):
        second.result(1.0)
    assert not first.done()


def test_an_id_may_be_used_again_once_its_request_has_ended(rig: Rig) -> None:
    first = wait(rig.quick.submit(ask(request_id="again")))
    second = wait(rig.quick.submit(ask(request_id="again")))

    assert first.text == second.text


@pytest.mark.alone
def test_closing_settles_everything_and_refuses_what_comes(rig: Rig) -> None:
    open_ones = [rig.slow.submit(rig.slow_request()) for _ in range(6)]

    started = time.monotonic()
    rig.slow.close()
    rig.slow.close()

    assert time.monotonic() - started < 5.0
    for future in [*open_ones, rig.slow.submit(ask())]:
        with pytest.raises(Cancelled, match="closed"):
            future.result(0)


def test_closing_leaves_no_thread_behind(rig: Rig) -> None:
    wait(rig.quick.submit(ask()))
    rig.quick.close()
    rig.slow.close()

    names = {thread.name for thread in threading.enumerate()}
    assert not names & {"engine", "openai-engine"}


def test_the_counters_add_up(rig: Rig) -> None:
    done = [wait(rig.quick.submit(ask(f"Count {number}"))) for number in range(3)]
    with pytest.raises(PromptTooLong):
        wait(rig.quick.submit(ask("word " * 5000)))

    stats = rig.quick.stats
    assert (stats.requests, stats.failures) == (4, 1)
    assert stats.prompt_tokens == sum(completion.prompt_tokens for completion in done)
    assert stats.completion_tokens == sum(completion.completion_tokens for completion in done)


def test_a_fork_is_told_that_it_has_no_engine(rig: Rig) -> None:
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        error = rig.quick.submit(ask()).exception(1.0)
        os.write(write, str(error).encode())
        os._exit(0)
    os.close(write)
    os.waitpid(child, 0)

    with os.fdopen(read) as said:
        assert "fork" in said.read()


def test_overnight_requests_are_served(rig: Rig) -> None:
    futures = [rig.quick.submit(ask(f"Night {n}", lane="overnight")) for n in range(6)]

    assert all(wait(future).text for future in futures)
