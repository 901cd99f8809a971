"""Endpoints that do not take every field: what is left out, learned, and told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest
from pydantic import ValidationError

from colm.models.engine_settings import EngineSettings
from colm.models.engines.base import GenerationRequest
from colm.models.engines.openai.engine import OpenAIEngine
from colm.models.engines.openai.request import Dialect, adapted, payload
from colm.models.engines.openai.wire import failure_of
from colm.models.errors import EndpointError, NoText
from colm.models.messages import Completion, Sampling, Turn
from tests.unit.engines_endpoint import Canned, Endpoint, completion, running_endpoint
from tests.unit.models.test_openai_failures import NOW

SOON = 20.0
SYSTEM, USER = Turn(role="system", content="Be kind."), Turn(role="user", content="Hi")
WHOLE = Sampling(temperature=0.7, top_p=0.9, stop=("END",), seed=2**62 + 5, max_new_tokens=9)
LIMITS = ("max_tokens", "max_completion_tokens")
_ids = count()


def request(*turns: Turn, sampling: Sampling = WHOLE) -> GenerationRequest:
    return GenerationRequest(
        request_id=f"d{next(_ids)}", messages=turns or (SYSTEM, USER), sampling=sampling
    )


def settings(**more: Any) -> EngineSettings:
    return EngineSettings(kind="openai", model="m", **{"base_url": "http://x/v1", **more})


def sent(*turns: Turn, sampling: Sampling = WHOLE, **more: Any) -> dict[str, Any]:
    return payload("m", request(*turns, sampling=sampling), Dialect.of(settings(**more)))


def told(message: str, dialect: Dialect | None = None, status: int = 400, **more: Any) -> set[str]:
    """What the next attempt goes without, as this refusal has it."""
    failure = failure_of(status, {}, {"error": {"message": message, **more}}, now=NOW)
    found = adapted(dialect or Dialect(), failure, request())
    return set() if found is None else set(found.untaken)


def test_nothing_is_left_out_of_a_request_by_default() -> None:
    assert sent() == {
        "model": "m", "stream": False, "max_tokens": 9, "temperature": 0.7, "top_p": 0.9,
        "stop": ["END"], "seed": 5,
        "messages": [
            {"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"},
        ],
    }  # fmt: skip


@pytest.mark.parametrize("seed", [0, 5, 2**31 - 1, 2**31, 2**53 + 1, 2**63 - 1])
def test_a_seed_is_sent_in_31_bits_and_a_small_one_as_it_is(seed: int) -> None:
    assert sent(sampling=Sampling(seed=seed))["seed"] == seed % 2**31


@pytest.mark.parametrize("field", ["seed", "temperature", "top_p", "stop", "max_tokens"])
def test_a_field_can_be_omitted(field: str) -> None:
    assert set(sent()) - set(sent(omit=(field,))) == {field}


def test_the_field_that_bounds_a_completion_can_be_named() -> None:
    found = sent(max_tokens_field="max_completion_tokens")
    assert found["max_completion_tokens"] == 9
    assert "max_tokens" not in found


@pytest.mark.parametrize(
    ("turns", "said"),
    [
        ((SYSTEM, USER), ["user: Be kind.\n\nHi"]),
        ((SYSTEM, USER, Turn(role="assistant", content="Yes"), USER),
         ["user: Be kind.\n\nHi", "assistant: Yes", "user: Hi"]),
        ((SYSTEM, SYSTEM, USER), ["user: Be kind.\n\nBe kind.\n\nHi"]),
        ((USER, SYSTEM), ["user: Hi", "user: Be kind."]),
        ((USER,), ["user: Hi"]),
    ],
)  # fmt: skip
def test_without_a_system_role_its_text_begins_the_users_turn(
    turns: tuple[Turn, ...], said: list[str]
) -> None:
    found = sent(*turns, system_role=False)["messages"]
    assert [f"{turn['role']}: {turn['content']}" for turn in found] == said


def test_more_fields_go_into_every_body() -> None:
    assert sent(extra_body={"top_k": 20, "chat": {"think": False}})["chat"] == {"think": False}


@pytest.mark.parametrize(
    ("table", "why"),
    [
        ({"extra_body": {"temperature": 1}}, "temperature is set elsewhere"),
        ({"extra_body": {"messages": []}}, "messages is set elsewhere"),
        ({"extra_body": {"x": float("nan")}}, "finite"),
        ({"extra_headers": {"X-Api-Key": "sk-1"}}, "X-Api-Key looks like a secret"),
        ({"extra_headers": {"Authorization": "x"}}, "extra_headers_env"),
        ({"extra_headers": {"x team": "a"}}, "pattern"),
        ({"extra_headers": {"x-team": "a\nb"}}, "pattern"),
        ({"extra_headers_env": {"x-key": "not a name"}}, "pattern"),
        ({"omit": ["model"]}, "omit"),
        ({"max_tokens_field": "n_predict"}, "max_tokens_field"),
        ({"proxy": "socks5://h:1"}, "proxy"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_refused(table: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        settings(**table)


def test_equal_engines_are_one_whatever_tables_they_hold() -> None:
    first = settings(extra_body={"a": 1, "b": 2}, extra_headers={"x-team": "t"})
    second = settings(extra_body={"b": 2, "a": 1}, extra_headers={"x-team": "t"})
    assert len({first, second, settings()}) == 2


@pytest.mark.parametrize(
    ("message", "more", "untaken"),
    [
        ("Unsupported parameter: 'max_tokens' is not supported with this model. Use"
         " 'max_completion_tokens' instead.", {"param": "max_tokens"}, {"max_tokens"}),
        ("Unsupported value: 'temperature' does not support 0.7 with this model. Only the default"
         " (1) value is supported.", {"param": "temperature"}, {"temperature"}),
        ("Unsupported parameter: 'top_p' is not supported with this model.", {}, {"top_p"}),
        ("`temperature` and `top_p` cannot both be specified for this model. Please use only one.",
         {}, {"top_p"}),
        ("Extra inputs are not permitted", {"param": "seed", "type": "extra_forbidden"}, {"seed"}),
        ("Invalid value at 'generation_config.seed' (TYPE_INT32), 80000", {}, {"seed"}),
        ('Invalid JSON payload received. Unknown name "seed": Cannot find field.', {}, {"seed"}),
        ("property 'seed' is unsupported", {}, {"seed"}),
        ("Unrecognized request argument supplied: seed", {}, {"seed"}),
        ("Additional properties are not allowed ('seed' was unexpected)", {}, {"seed"}),
        ("extraneous key [top_p] is not permitted", {}, {"top_p"}),
        ("seed must be a number from 0 to 65535", {}, {"seed"}),
        ("Argument not supported on this model: stop", {}, {"stop"}),
        ("Model does not support parameter stop.", {}, {"stop"}),
        ("Unsupported parameters: temperature, seed", {}, {"temperature", "seed"}),
        ("`temperature` is deprecated for this model.", {}, {"temperature"}),
        ("System role not supported", {}, {"system_role"}),
        ("Unsupported value: 'messages[0].role' does not support 'system' with this model.", {},
         {"system_role"}),
        ("Developer instruction is not enabled for models/small", {}, {"system_role"}),
        ("Conversation roles must alternate user/assistant/user/assistant/...", {},
         {"system_role"}),
        ("Only user and assistant roles are supported!", {}, {"system_role"}),
        ("messages.0.role: Input should be 'user' or 'assistant'", {}, {"system_role"}),
        ("Unexpected role \"system\".", {}, {"system_role"}),
        ("Invalid role: system", {}, {"system_role"}),
        ("This model does not accept system prompts", {}, {"system_role"}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("status", [400, 422, 500])
def test_a_field_that_is_refused_by_name_is_left_out(
    message: str, more: dict[str, Any], untaken: set[str], status: int
) -> None:
    assert told(message, status=status, **more) == untaken


@pytest.mark.parametrize(
    "message",
    [
        "temperature must be less than or equal to 0.5",
        "Invalid value for temperature: 0.7 is not valid. Must be between 0 and 0.5",
        "max_tokens is too large: 9. This model supports at most 4 completion tokens",
        "`max_tokens` must be less than or equal to `4`, the maximum value for `max_tokens`",
        "Invalid 'stop': array too long. Expected an array with maximum length 4",
        "top_p must be in the range (0, 0.5]",
        "unknown model 'm'",
        "please stop, this is not supported",
        "The file system is full",
        "no",
        "",
    ],
)
def test_a_value_or_another_fault_is_the_users_to_mend(message: str) -> None:
    assert told(message) == set()


@pytest.mark.parametrize("status", [401, 403, 404, 408, 413, 429, 502, 503])
def test_a_status_that_is_about_no_field_teaches_nothing(status: int) -> None:
    assert told("Unsupported parameter: seed", status=status) == set()


def test_a_top_p_that_changes_nothing_is_left_out_whatever_the_refusal() -> None:
    failure = failure_of(422, {}, {"error": "`top_p` must be > 0.0 and < 1.0"}, now=NOW)
    found = adapted(Dialect(), failure, request(sampling=Sampling(top_p=1.0)))
    assert found is not None
    assert found.untaken == {"top_p"}


def test_a_field_that_was_not_sent_is_not_learned_and_a_bound_is_kept() -> None:
    for untaken, message in (
        ({"seed"}, "Unsupported parameter: seed"),
        ({"system_role"}, "System role not supported"),
        ({"max_tokens"}, "Unsupported parameter: max_completion_tokens"),
    ):
        assert told(message, Dialect(untaken=frozenset(untaken))) == set()


# --- Through the engine ---------------------------------------------------------------------------

Refusal = Callable[[dict[str, Any]], Canned | None]


def refuses(*fields: str) -> Refusal:
    """An endpoint that takes none of the fields, and names one at a time."""

    def refusal(body: dict[str, Any]) -> Canned | None:
        field = next((field for field in fields if field in body), None)
        message = {"message": f"Unsupported parameter: '{field}'", "param": field}
        return Canned(status=400, body={"error": message}) if field else None

    return refusal


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with running_endpoint() as endpoint:
        yield endpoint


@pytest.fixture
def engine(endpoint: Endpoint) -> Iterator[OpenAIEngine]:
    engine = OpenAIEngine(settings(base_url=endpoint.url, retries=0))
    yield engine
    engine.close()


def ask(engine: OpenAIEngine, **sampling: Any) -> Completion:
    asked = WHOLE.model_copy(update={"max_new_tokens": 40, **sampling})
    return engine.submit(request(sampling=asked)).result(SOON)


def test_what_an_endpoint_refuses_is_learned_once_and_logged_once(
    engine: OpenAIEngine, endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint.refuses = refuses("max_tokens", "temperature", "seed")

    assert ask(engine).text.endswith("heard Hi")
    assert len(endpoint.asked) == 4
    ask(engine)
    assert len(endpoint.asked) == 5
    assert [
        r.getMessage() for r in caplog.records if r.name == "colm.models.engines.openai.engine"
    ] == ["127.0.0.1 does not take max_tokens, seed, temperature: it is asked without from now on"]


def test_the_record_shows_what_was_asked_for_and_not_sent(
    engine: OpenAIEngine, endpoint: Endpoint
) -> None:
    before = ask(engine)
    assert (before.engine, before.seed) == ("openai", WHOLE.seed)

    endpoint.refuses = refuses("seed", "top_p", "stop", "max_tokens")
    after = ask(engine)
    assert (after.engine, after.seed) == ("openai (without seed, top_p)", None)
    assert engine.info.engine == after.engine
    assert ask(engine, seed=None).engine == "openai (without top_p)"


def test_what_settings_omit_is_shown_too(endpoint: Endpoint) -> None:
    engine = OpenAIEngine(
        settings(base_url=endpoint.url, omit=("max_tokens", "seed"), system_role=False)
    )
    try:
        assert ask(engine).engine == "openai (without max_tokens, seed, system_role)"
        assert not {"max_tokens", "max_completion_tokens", "seed"} & set(endpoint.asked[0])
    finally:
        engine.close()


def test_nothing_is_learned_from_an_attempt_that_was_of_no_use(
    engine: OpenAIEngine, endpoint: Endpoint
) -> None:
    endpoint.refuses = lambda _: Canned(status=400, body={"error": "Unsupported parameter: seed"})

    with pytest.raises(EndpointError, match="Unsupported parameter: seed"):
        ask(engine)
    assert len(endpoint.asked) == 2
    assert engine.untaken == frozenset()


def test_an_endpoint_that_refuses_everything_is_asked_once_for_each_field(
    engine: OpenAIEngine, endpoint: Endpoint
) -> None:
    everything = ("seed", "temperature", "top_p", "stop", *LIMITS, "messages")
    endpoint.refuses = refuses(*everything)

    with pytest.raises(EndpointError, match="max_completion_tokens"):
        ask(engine)
    assert len(endpoint.asked) == 6


def test_a_system_role_that_is_refused_moves_into_the_users_turn(
    engine: OpenAIEngine, endpoint: Endpoint
) -> None:
    no_system = Canned(status=500, body={"error": "System role not supported"})
    endpoint.refuses = lambda b: no_system if b["messages"][0]["role"] == "system" else None

    assert ask(engine).engine == "openai (without system_role)"
    assert endpoint.asked[-1]["messages"] == [{"role": "user", "content": "Be kind.\n\nHi"}]


@pytest.mark.parametrize("omit", [(), ("stop",)])
def test_a_stop_is_heeded_though_the_endpoint_does_not(omit: tuple[str, ...]) -> None:
    with running_endpoint() as endpoint:
        engine = OpenAIEngine(settings(base_url=endpoint.url, omit=omit))
        endpoint.canned.append(completion("One END two", "length"))
        try:
            found = ask(engine)
        finally:
            engine.close()
        assert (found.text, found.finish_reason, found.engine) == ("One ", "stop", "openai")


@pytest.mark.parametrize(
    ("message", "reason", "why"),
    [
        ({"content": "", "reasoning_content": "hm 41?"}, "length",
         "all 2 tokens went into reasoning: raise max_new_tokens"),
        ({"content": None}, "length", "all 2 tokens were spent without text: raise max_new_tokens"),
        ({"content": " \n\u200b"}, "stop", "ended its turn without text"),
        ({"content": None, "reasoning": "42"}, "stop", "reasoned and ended its turn without text"),
        ({"content": None, "tool_calls": [{}]}, "tool_calls", "finish_reason 'tool_calls'"),
        ({"content": [{"type": "thinking", "thinking": "hm"}]}, "stop", "reasoned and ended"),
        ({"content": "END of it"}, "length", "ended its turn without text"),
    ],
)  # fmt: skip
def test_no_text_is_no_completion_and_its_reason_says_what_to_do(
    engine: OpenAIEngine, endpoint: Endpoint, message: dict[str, Any], reason: str, why: str
) -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 2}
    choices = [{"message": message, "finish_reason": reason}]
    endpoint.canned.append(Canned(body={"choices": choices, "usage": usage}))

    with pytest.raises(NoText, match=why):
        ask(engine)


def test_reasoning_beside_a_text_is_kept_apart_as_its_thought(
    engine: OpenAIEngine, endpoint: Endpoint
) -> None:
    message = {"content": "<think>then</think>42", "reasoning_content": "first"}
    endpoint.canned.append(
        Canned(body={"choices": [{"message": message, "finish_reason": "stop"}]})
    )

    found = ask(engine)

    assert (found.text, found.thought) == ("42", "first\n\nthen")
