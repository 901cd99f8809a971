"""The endpoint engine against a real server that misbehaves in every way we know of."""

from __future__ import annotations

import dataclasses
import logging
import random
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import count
from typing import Any

import pytest

from colm.models.backoff import Backoff
from colm.models.engine_settings import EngineSettings
from colm.models.engines.base import GenerationRequest
from colm.models.engines.openai.engine import OpenAIEngine
from colm.models.engines.openai.wire import Setback, failure_of, judged
from colm.models.errors import (
    Cancelled,
    DeadlineExceeded,
    EndpointError,
    EngineError,
    PromptTooLong,
    SettingsError,
)
from colm.models.messages import Completion, Sampling, Turn
from tests.unit.engines_endpoint import HOLD, Canned, Endpoint, completion, running_endpoint

KEY = "sk-secret-0123456789"
SOON = 20.0
_ids = count()


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with running_endpoint() as endpoint:
        yield endpoint


class Client:
    """An engine that notes the pauses it would have made."""

    def __init__(self, url: str, **settings: Any) -> None:
        self.pauses: list[float] = []
        self.engine = OpenAIEngine(
            EngineSettings(kind="openai", model="small", base_url=url, **settings),
            api_key=KEY,
            rng=random.Random(1),
            pause=self._pause,
        )

    async def _pause(self, seconds: float) -> None:
        self.pauses.append(seconds)

    def ask(self, text: str = "Hello", **sampling: Any) -> Completion:
        return self.engine.submit(request(text, **sampling)).result(SOON)


@pytest.fixture
def client(endpoint: Endpoint) -> Iterator[Client]:
    client = Client(endpoint.url, retries=3)
    yield client
    client.engine.close()


def request(
    text: str = "Hello", deadline: float | None = None, **sampling: Any
) -> GenerationRequest:
    return GenerationRequest(
        request_id=f"o{next(_ids)}",
        messages=(Turn(role="system", content="Be kind."), Turn(role="user", content=text)),
        sampling=Sampling(**sampling),
        deadline=deadline,
    )


def error(status: int, message: str = "no", **headers: str) -> Canned:
    return Canned(status=status, body={"error": {"message": message}}, headers=headers)


def test_all_that_the_request_says_reaches_the_endpoint(client: Client, endpoint: Endpoint) -> None:
    client.ask("Hi", temperature=0.3, top_p=0.9, max_new_tokens=7, seed=5, stop=("END",))

    (asked,) = endpoint.asked
    assert asked["messages"] == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Hi"},
    ]
    sent = {key: asked[key] for key in ("model", "temperature", "top_p", "max_tokens", "seed")}
    assert sent == {
        "model": "small",
        "temperature": 0.3,
        "top_p": 0.9,
        "max_tokens": 7,
        "seed": 5,
    }
    assert asked["stop"] == ["END"]
    assert endpoint.headers[0]["Authorization"] == f"Bearer {KEY}"


def test_what_the_request_does_not_say_is_left_to_the_endpoint(
    client: Client, endpoint: Endpoint
) -> None:
    client.ask()

    assert not {"seed", "stop"} & set(endpoint.asked[0])


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 529])
def test_what_may_pass_is_tried_again(client: Client, endpoint: Endpoint, status: int) -> None:
    endpoint.canned.extend([error(status), error(status)])

    assert client.ask("Again").text.endswith("Again")
    assert len(endpoint.asked) == 3
    assert [0.25 <= client.pauses[0] <= 0.5, 0.5 <= client.pauses[1] <= 1.0] == [True, True]


def test_a_dropped_connection_is_tried_again(client: Client, endpoint: Endpoint) -> None:
    endpoint.canned.append(Canned(status=0))

    assert client.ask("Again").text.endswith("Again")


def test_attempts_end_and_the_error_says_how_many_and_why(
    client: Client, endpoint: Endpoint
) -> None:
    endpoint.canned.extend([error(503, "overloaded")] * 9)

    with pytest.raises(EndpointError, match=r"503: overloaded.*tried 4 times at 127\.0\.0\.1"):
        client.ask()
    assert len(endpoint.asked) == 4


def test_an_endpoint_that_is_not_there_is_an_endpoint_error() -> None:
    with socket.socket() as taken:  # bound, never listening
        taken.bind(("127.0.0.1", 0))
        client = Client(f"http://127.0.0.1:{taken.getsockname()[1]}/v1", retries=1)
        try:
            with pytest.raises(EndpointError, match="no connection"):
                client.ask()
        finally:
            client.engine.close()


def test_an_attempt_that_takes_too_long_is_given_up(endpoint: Endpoint) -> None:
    client = Client(endpoint.url, timeout=0.1, retries=1)
    try:
        with pytest.raises(EndpointError, match=r"no reply within 0\.1 s \(tried 2 times"):
            client.ask(HOLD)
    finally:
        client.engine.close()


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_what_will_not_pass_is_not_tried_again_and_the_endpoint_says_why(
    client: Client, endpoint: Endpoint, status: int
) -> None:
    endpoint.canned.append(error(status, "unknown model 'small'"))

    with pytest.raises(EndpointError, match=f"HTTP {status}: unknown model 'small'"):
        client.ask()
    assert len(endpoint.asked) == 1


def test_a_used_up_quota_is_not_tried_again(client: Client, endpoint: Endpoint) -> None:
    body = {"error": {"message": "pay first", "code": "insufficient_quota"}}
    endpoint.canned.append(Canned(status=429, body=body))

    with pytest.raises(EndpointError, match="pay first"):
        client.ask()


def test_retry_after_is_honoured(client: Client, endpoint: Endpoint) -> None:
    endpoint.canned.append(error(429, **{"Retry-After": "7"}))

    client.ask()

    assert client.pauses == [7.0]


def test_a_retry_after_of_hours_is_a_refusal(client: Client, endpoint: Endpoint) -> None:
    endpoint.canned.append(error(429, "come back", **{"Retry-After": "7200"}))

    with pytest.raises(EndpointError, match=r"come back.*7200 s"):
        client.ask()


def test_retry_after_may_be_a_date() -> None:
    now = datetime(2026, 5, 1, tzinfo=UTC)
    later = format_datetime(now + timedelta(seconds=9), usegmt=True)

    for value, seconds in ((later, 9.0), ("soon", None), ("", None), ("2.5", 2.5)):
        failure = failure_of(503, {"retry-after": value}, {}, now=now)
        assert judged(failure) == Setback(reason="HTTP 503", retry_after=seconds)


def test_pauses_grow_and_are_jittered_and_bounded() -> None:
    backoff = Backoff(first=0.5, longest=30.0, jitter=0.5, rng=random.Random(0))
    pauses = [backoff.next_pause() for _ in range(20)]

    assert all(pause <= 30.0 for pause in pauses)
    assert min(pauses[8:]) >= 15.0
    assert len(set(pauses)) == len(pauses)


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "too much", "code": "context_length_exceeded"}},
        {"error": {"message": "too much", "type": "exceed_context_size_error", "code": 400}},
        {"object": "error", "message": "maximum context length is 512 tokens, you have 700"},
        {"detail": "Prompt is too long: 700 of 512"},
        {"error": "the request exceeds the available context size"},
    ],
)
def test_a_prompt_that_the_endpoint_finds_too_long_is_said_to_be(
    client: Client, endpoint: Endpoint, body: dict[str, Any]
) -> None:
    endpoint.canned.append(Canned(status=400, body=body))

    with pytest.raises(PromptTooLong, match=r"(?i)too|context"):
        client.ask()


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"<html>It works!</html>", "no chat completion"),
        ({"choices": []}, "choices"),
        ({"choices": [{"message": {"content": None, "refusal": "I will not"}}]}, "I will not"),
        (completion("half a", "content_filter").body, "content_filter"),
        (completion("x" * 200_001).body, "200001 characters"),
    ],
)
def test_a_reply_without_a_completion_is_an_endpoint_error(
    client: Client, endpoint: Endpoint, body: object, why: str
) -> None:
    endpoint.canned.extend([Canned(body=body)] * 4)

    with pytest.raises(EndpointError, match=why):
        client.ask()


@pytest.mark.parametrize(
    ("reason", "ours"),
    [("stop", "stop"), ("length", "length"), ("max_tokens", "length"), (None, "stop")],
)
def test_finish_reasons_are_translated(
    client: Client, endpoint: Endpoint, reason: Any, ours: str
) -> None:
    endpoint.canned.append(completion("Fine", reason))

    assert client.ask().finish_reason == ours


def test_an_endpoint_that_counts_nothing_counts_as_zero(client: Client, endpoint: Endpoint) -> None:
    endpoint.canned.append(Canned(body={"choices": [{"message": {"content": "Fine"}}]}))

    found = client.ask()

    assert (found.prompt_tokens, found.completion_tokens, found.cached_tokens) == (0, 0, 0)


def test_tokens_that_the_endpoint_had_cached_are_counted(
    client: Client, endpoint: Endpoint
) -> None:
    canned = completion("Fine", prompt=40)
    canned.body["usage"]["prompt_tokens_details"] = {"cached_tokens": 32}
    endpoint.canned.append(canned)

    assert client.ask().cached_tokens == 32


def test_no_more_than_max_batch_are_in_flight_at_once(endpoint: Endpoint) -> None:
    client = Client(endpoint.url, max_num_seqs=3)
    try:
        futures = [client.engine.submit(request(f"{HOLD} {n}")) for n in range(9)]
        started = time.monotonic()
        while len(endpoint.asked) < 3 and time.monotonic() - started < SOON:
            time.sleep(0.005)
        time.sleep(0.05)
        endpoint.released.set()

        assert {future.result(SOON).text.split()[-1] for future in futures} == set("012345678")
        assert endpoint.most_at_once == 3
    finally:
        client.engine.close()


def test_a_cancelled_exchange_frees_its_place(endpoint: Endpoint) -> None:
    client = Client(endpoint.url, max_num_seqs=1)
    try:
        held = request(HOLD)
        future = client.engine.submit(held)
        waiting = client.engine.submit(request("Next"))
        client.engine.cancel(held.request_id)

        with pytest.raises(Cancelled):
            future.result(SOON)
        assert waiting.result(SOON).text.endswith("Next")
    finally:
        client.engine.close()


def test_an_exchange_frees_its_place_whenever_it_is_cancelled(endpoint: Endpoint) -> None:
    """Also while its connection opens, which lasts a fraction of a millisecond."""
    client = Client(endpoint.url, max_num_seqs=1)
    try:
        for step in range(200):
            held = request(HOLD)
            client.engine.submit(held)
            time.sleep(step * 5e-5)
            client.engine.cancel(held.request_id)
        assert client.ask("Next").text.endswith("Next")
    finally:
        client.engine.close()


def test_a_pause_that_outlasts_the_deadline_ends_with_it_and_tells_why(endpoint: Endpoint) -> None:
    engine = OpenAIEngine(EngineSettings(kind="openai", base_url=endpoint.url))
    try:
        endpoint.canned.append(error(429, "slow down", **{"Retry-After": "100"}))
        started = time.monotonic()
        with pytest.raises(
            DeadlineExceeded, match="HTTP 429: slow down; its deadline comes before"
        ):
            engine.submit(request(deadline=started + 0.3)).result(SOON)
        assert time.monotonic() - started < 5.0
    finally:
        engine.close()


def test_the_key_is_in_no_error_and_no_log(
    client: Client, endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    endpoint.canned.append(error(401, f"Incorrect API key provided: {KEY}"))

    with pytest.raises(EndpointError, match=r"provided: \*\*\*") as refused:
        client.ask()

    assert KEY not in str(refused.value) + repr(refused.value.__context__) + caplog.text
    assert KEY not in repr(client.engine.info)


@pytest.mark.parametrize("url", ["http://", "http://[::1", "http://host:port/v1"])
def test_an_address_that_is_none_is_a_settings_error(url: str) -> None:
    with pytest.raises(SettingsError, match="base_url"):
        OpenAIEngine(EngineSettings.model_construct(kind="openai", base_url=url))


def test_a_key_that_no_header_can_carry_is_a_settings_error_that_does_not_show_it() -> None:
    with pytest.raises(SettingsError) as refused:
        OpenAIEngine(EngineSettings(kind="openai", base_url="http://x/v1"), api_key="s\u00e9cret")

    assert "cret" not in str(refused.value)


def test_a_fault_of_ours_reaches_the_caller(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("colm.models.engines.openai.engine.payload", broken)

    with pytest.raises(EngineError, match="a bug"):
        client.ask()


def test_an_adapter_is_the_model_that_the_endpoint_is_asked_for(endpoint: Endpoint) -> None:
    client = Client(endpoint.url, adapter="small-law")
    other = dataclasses.replace(request("Hello"), adapter="small-tax")
    completions = [client.ask(), client.engine.submit(other).result(SOON)]
    assert client.engine.info.model == "small-law"
    assert [body["model"] for body in endpoint.asked] == ["small-law", "small-tax"]
    assert [(c.model, c.adapter) for c in completions] == [("small-law", None), ("small-tax", None)]
    client.engine.close()
