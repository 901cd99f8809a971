"""The engine without a model says what its script says."""

from __future__ import annotations

import time

import pytest

from colm.models.engine_settings import EngineSettings
from colm.models.engines.base import GenerationRequest
from colm.models.engines.scripted import LAST_CHARS, ScriptedEngine
from colm.models.errors import EngineError
from colm.models.messages import Sampling, Turn


def ask(text: str, **sampling: int) -> GenerationRequest:
    return GenerationRequest(
        request_id=text[:20],
        messages=(Turn(role="user", content=text),),
        sampling=Sampling.model_validate(sampling),
    )


def settings(**values: object) -> EngineSettings:
    return EngineSettings.model_validate({"kind": "scripted", **values})


def test_the_last_turn_is_quoted_as_far_as_the_settings_promise() -> None:
    engine = ScriptedEngine(settings(reply="<{last}>"))

    assert engine.submit(ask("b" * 200)).result(0).text == f"<{'b' * LAST_CHARS}>"


def test_braces_in_a_script_or_a_question_are_only_text() -> None:
    engine = ScriptedEngine(settings(reply="{} {0} {last}"))

    assert engine.submit(ask("{reply}")).result(0).text == "{} {0} {reply}"


def test_a_delay_passes_before_the_reply() -> None:
    engine = ScriptedEngine(settings(delay=0.1))

    future = engine.submit(ask("Wait"))
    assert not future.done()
    assert 0.1 <= future.result(10).total_s < 5.0


def test_a_script_may_be_a_function_of_the_request_and_may_fail() -> None:
    def reply(request: GenerationRequest) -> str:
        if "bad" in request.messages[-1].content:
            raise EngineError("scripted failure")
        return request.messages[-1].content.upper()

    engine = ScriptedEngine(settings(), reply=reply)

    assert engine.submit(ask("good")).result(0).text == "GOOD"
    with pytest.raises(EngineError, match="scripted failure"):
        engine.submit(ask("bad")).result(0)


def test_a_thousand_replies_take_no_time() -> None:
    engine = ScriptedEngine(settings())
    started = time.monotonic()

    texts = {engine.submit(ask(f"{n} bottles")).result(0).text for n in range(1000)}

    assert len(texts) == 1000
    assert time.monotonic() - started < 20.0
