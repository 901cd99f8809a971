"""Code checks travel as steps: the engine of kind sandbox keeps what engines promise."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from colm.models.engine_settings import EngineSettings
from colm.models.engines.base import Engine, GenerationRequest
from colm.models.engines.factory import build_engine
from colm.models.errors import BadMessage, Cancelled, DeadlineExceeded, EngineError
from colm.models.messages import Sampling, Turn
from colm.models.sandbox.protocol import CheckReport, CheckRequest, read_report

SOON = 30.0
SLEEP = CheckRequest(code="import time; time.sleep(60)")


@pytest.fixture
def engine() -> Iterator[Engine]:
    settings = {"kind": "sandbox", "max_num_seqs": 2, "run_seconds": 1}
    engine = build_engine(EngineSettings.model_validate(settings))
    yield engine
    engine.close()


def ask(
    check: CheckRequest | str, number: int = 0, *, deadline: float | None = None
) -> GenerationRequest:
    text = check if isinstance(check, str) else check.model_dump_json()
    return GenerationRequest(
        request_id=f"r{number}",
        messages=(Turn(role="user", content=text),),
        sampling=Sampling(temperature=0),
        deadline=deadline,
    )


def report_of(engine: Engine, check: CheckRequest) -> CheckReport:
    return read_report(engine.submit(ask(check)).result(SOON).text)


def test_a_check_says_whether_the_code_passed_and_why_not(engine: Engine) -> None:
    good = report_of(engine, CheckRequest(code="x = 1", tests="assert x == 1"))
    bad = report_of(engine, CheckRequest(code="x = 2", tests="assert x == 1"))

    assert (good.passed, good.status, good.reason) == (True, "passed", "")
    assert (bad.passed, bad.status) == (False, "failed")
    assert "assert x == 1" in bad.reason
    assert "limits" in good.kept


def test_a_completion_costs_no_tokens_and_names_what_made_it(engine: Engine) -> None:
    completion = engine.submit(ask(CheckRequest(code=""))).result(SOON)

    assert (completion.prompt_tokens, completion.completion_tokens) == (0, 0)
    assert (completion.engine, completion.model) == ("sandbox", engine.info.model)
    assert completion.total_s > 0
    assert engine.stats.requests == 1


def test_a_program_beyond_its_time_is_a_verdict_and_no_error(engine: Engine) -> None:
    assert report_of(engine, SLEEP).status == "timeout"


def test_a_steps_deadline_says_nothing_about_the_program(engine: Engine) -> None:
    future = engine.submit(ask(SLEEP, deadline=time.monotonic() + 0.5))

    with pytest.raises(DeadlineExceeded):
        future.result(SOON)


@pytest.mark.parametrize("text", ["print(1)", "{}", '{"code": 1}', '{"code": "", "more": 1}'])
def test_what_is_no_check_is_that_steps_own_error(engine: Engine, text: str) -> None:
    with pytest.raises(EngineError, match="code check"):
        engine.submit(ask(text)).result(SOON)
    assert report_of(engine, CheckRequest(code="")).passed


def test_a_check_can_be_withdrawn_and_the_engine_closed(engine: Engine) -> None:
    futures = [engine.submit(ask(SLEEP, number)) for number in range(4)]

    assert engine.cancel("r3")
    started = time.monotonic()
    engine.close()

    assert time.monotonic() - started < 10
    for future in futures:
        with pytest.raises(Cancelled):
            future.result(0)


def test_it_cannot_tell_how_likely_anything_is(engine: Engine) -> None:
    request = GenerationRequest(
        request_id="r", messages=ask(SLEEP).messages, sampling=Sampling(), choices=("A", "B")
    )

    with pytest.raises(EngineError, match="likely"):
        engine.submit(request).result(SOON)


def test_a_report_that_is_none_is_a_bad_message() -> None:
    with pytest.raises(BadMessage, match="report"):
        read_report("passed")
