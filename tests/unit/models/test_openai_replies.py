"""What is made of every shape of reply that endpoints are known to give with a good status."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colm.models.engines.openai.reply import Reply, read_body, read_reply
from colm.models.engines.openai.wire import Failure, failure_of, judged, may_pass
from colm.models.errors import EndpointError, EngineError, PromptTooLong

#: Fields that mean something, and fields that stand beside a text.
KEYS = st.sampled_from(
    ["choices", "message", "content", "error", "code", "status", "detail", "loc", "param", "type",
     "text", "usage", "prompt_tokens", "finish_reason", "reasoning", "data", "refusal", "index"]
)  # fmt: skip
BESIDE = [
    "id", "object", "created", "model", "usage", "index", "logprobs", "refusal", "role", "data",
    "tool_calls", "reasoning", "reasoning_content", "thinking", "system_fingerprint", "audio",
]  # fmt: skip
NOW = datetime(2026, 5, 1, tzinfo=UTC)
A = "The answer is 42."
FFFD = "\N{REPLACEMENT CHARACTER}"


def body(content: object = A, *, choice: dict[str, Any] | None = None, **more: Any) -> Any:
    message = {"role": "assistant", "content": content}
    first = {"index": 0, "message": message, "finish_reason": "stop", **(choice or {})}
    return {"id": "x", "object": "chat.completion", "choices": [first], **more}


def message(**fields: Any) -> Any:
    return body(choice={"message": {"role": "assistant", **fields}})


def read(data: object) -> Reply:
    found = read_reply(data)
    assert isinstance(found, Reply), found
    return found


def failed(data: object) -> Failure:
    found = read_reply(data)
    assert isinstance(found, Failure), found
    return found


def part(text: str, kind: str = "text") -> dict[str, Any]:
    return {"type": kind, "text": text}


@pytest.mark.parametrize(
    ("content", "text", "reasoning"),
    [
        ([part("The answer "), part("is 42.")], A, ""),
        ([part(A, "output_text")], A, ""),
        ([{"text": A}], A, ""),
        ([{"type": None, "text": A}], A, ""),
        (["The answer ", "is 42."], A, ""),
        (part(A), A, ""),
        ([{"type": "text", "text": {"value": A, "annotations": []}}], A, ""),
        ([{"type": "thinking", "thinking": [part("hm 41?")]}, part(A)], A, "hm 41?"),
        ([{"type": "thinking", "thinking": "hm"}, part(A)], A, "hm"),
        ([{"type": "reasoning", "summary": [part("hm", "summary_text")]}, part(A)], A, "hm"),
        ([{"type": "redacted_thinking", "data": "c2VjcmV0"}, part(A)], A, ""),
        ([{"type": "text", "text": "hm", "thought": True}, part(A)], A, "hm"),
        ([part(A), {"type": "image_url", "image_url": {"url": "data:"}}], A, ""),
        ([part(A), {"type": "tool_use", "input": {}, "text": "no"}, None, 1.5, []], A + "1.5", ""),
        (42, "42", ""),
        ("caf\u00e9 \ud83d", f"caf\u00e9 {FFFD}", ""),
        ("\ude00 is half", f"{FFFD} is half", ""),
        ([part("half \ud83d"), part("\ude00 made whole")], "half \U0001f600 made whole", ""),
        ("a\x00b", f"a{FFFD}b", ""),
        ("", "", ""),
        (None, "", ""),
        (True, "", ""),
        ({}, "", ""),
        ([], "", ""),
    ],
)
def test_the_text_parts_of_a_content_are_joined_and_its_reasoning_is_kept_apart(
    content: object, text: str, reasoning: str
) -> None:
    found = read(body(content))
    assert (found.text, found.reasoning) == (text, reasoning)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("reasoning_content", "hm 41?"),
        ("reasoning", "hm 41?"),
        ("thinking", "hm 41?"),
        ("reasoning_details", [{"type": "reasoning.text", "text": "hm 41?"}]),
        ("thinking_blocks", [{"type": "thinking", "thinking": "hm 41?", "signature": "s"}]),
    ],
)
def test_reasoning_beside_the_content_is_no_part_of_the_text(field: str, value: object) -> None:
    found = read(message(content=A, **{field: value}))
    assert (found.text, found.reasoning) == (A, "hm 41?")


@pytest.mark.parametrize("value", [False, [], {}, None, 3, [[[[[[[["deep"]]]]]]]]])
def test_reasoning_of_another_type_costs_nothing(value: object) -> None:
    found = read(message(content=A, reasoning_content=value, reasoning=None))
    assert (found.text, found.reasoning) == (A, "")


@pytest.mark.parametrize(
    ("usage", "counts"),
    [
        ({"prompt_tokens": 11, "completion_tokens": 7}, (11, 7, 0)),
        ({"prompt_tokens": "11", "completion_tokens": 7.0}, (11, 7, 0)),
        ({"input_tokens": 11, "output_tokens": 7}, (11, 7, 0)),
        ({"prompt_tokens": 11, "completion_tokens": None}, (11, 0, 0)),
        ({"prompt_tokens": None, "completion_tokens": None}, (0, 0, 0)),
        ({"prompt_tokens": -1, "completion_tokens": True}, (0, 0, 0)),
        ({"prompt_tokens": 2**31, "completion_tokens": 10**30}, (0, 0, 0)),
        ({"prompt_tokens": float("nan"), "completion_tokens": float("inf")}, (0, 0, 0)),
        ({"prompt_tokens": {}, "completion_tokens": "many"}, (0, 0, 0)),
        ({"prompt_tokens": 9, "prompt_tokens_details": []}, (9, 0, 0)),
        ({"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": -1}}, (9, 0, 0)),
        ({"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 8}}, (9, 0, 8)),
        ({"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 80}}, (9, 0, 9)),
        ({"prompt_tokens": 9, "prompt_cache_hit_tokens": 5}, (9, 0, 5)),
        (None, (0, 0, 0)),
        ([], (0, 0, 0)),
        ("none", (0, 0, 0)),
    ],
)
def test_counts_that_cannot_be_read_are_zero_and_cost_no_text(
    usage: object, counts: tuple[int, int, int]
) -> None:
    found = read(body(usage=usage))
    assert (found.prompt_tokens, found.completion_tokens, found.cached_tokens) == counts
    assert found.text == A


@pytest.mark.parametrize(
    "data",
    [
        message(content=A, refusal=False),
        message(content=A, refusal=[]),
        message(content=A, refusal="a remark"),
        message(content=A, tool_calls=None, audio=7, annotations="x"),
        body(choice={"finish_reason": 1}),
        body(choice={"finish_reason": ["stop"]}),
        body(choice={"index": None, "logprobs": "none", "error": None}),
        body(choice={"error": {}}),
        body(choice={"error": {"code": 0, "message": ""}}),
        body(error=None),
        body(error={"code": None, "message": None}),
        body(id=7, created="now", model=None, object=[]),
        {"choices": [*body()["choices"], None]},
        {"choices": [None, *body()["choices"]]},
        {"choices": [*body()["choices"], {"index": 1}]},
        {"choices": [{"index": 1, "message": {"content": "other"}}, *body()["choices"]]},
        {"choices": body()["choices"][0]},
        {"choices": [{"text": A, "finish_reason": "stop"}]},
        {"choices": [{"message": None, "delta": {"content": A}}]},
        {"choices": [{"message": A}]},
        {"code": 200, "msg": "ok", "data": body()},
        {"result": body(), "success": True, "errors": []},
        [body()],
    ],
)
def test_a_good_text_is_not_lost_for_what_stands_beside_it(data: object) -> None:
    found = read(data)
    assert (found.text, found.finish_reason) == (A, "stop")


@pytest.mark.parametrize(
    ("reason", "ours"),
    [
        ("length", "length"), ("max_tokens", "length"), ("MAX_TOKENS", "length"),
        ("FinishReason.MAX_TOKENS", "length"), ("maxTokens", "length"),
        ("max_output_tokens", "length"),
        ("max_completion_tokens", "length"), ("model_length", "length"), ("length_limit", "length"),
        ("model_context_window_exceeded", "length"), ("token_limit", "length"),
        ("incomplete", "length"), ({"type": "length"}, "length"),
        ("stop", "stop"), ("STOP", "stop"), ("eos", "stop"), ("eos_token", "stop"),
        ("stop_sequence", "stop"), ("end_turn", "stop"), ("tool_calls", "stop"),
        ("", "stop"), (None, "stop"), (1, "stop"), ({}, "stop"),
    ],
)  # fmt: skip
def test_a_text_that_was_cut_is_told_from_one_that_ended(reason: object, ours: str) -> None:
    assert read(body(choice={"finish_reason": reason})).finish_reason == ours


@pytest.mark.parametrize(
    ("reason", "again"),
    [
        ("error", True), ("network_error", True), ("insufficient_system_resource", True),
        ("abort", True), ("aborted", True), ("cancelled", True), ("timeout", True),
        ("OTHER", True), ("FinishReason.OTHER", True),
        ("content_filter", False), ("SAFETY", False), ("sensitive", False), ("RECITATION", False),
        ("PROHIBITED_CONTENT", False), ("content_filter: BLOCKLIST", False), ("refusal", False),
        ("MALFORMED_FUNCTION_CALL", False), ("guardrail_intervened", False),
    ],
)  # fmt: skip
def test_half_a_text_of_an_endpoint_that_failed_is_no_completion(reason: str, again: bool) -> None:
    found = failed(body(choice={"finish_reason": reason}))
    assert repr(reason) in found.body.message
    assert may_pass(found) is again


@pytest.mark.parametrize(
    ("data", "told", "again"),
    [
        ({"error": {"code": 429, "message": "slow down"}}, "error 429: slow down", True),
        ({"error": {"code": "429", "message": "slow down"}}, "error 429: slow down", True),
        ({"error": {"code": 502, "message": "Provider"}, "choices": None}, "502: Provider", True),
        ({"error": {"code": 401, "message": "No auth"}}, "error 401: No auth", False),
        ({"error": {"type": "rate_limit_error", "message": "slow down"}}, "slow down", True),
        ({"error": {"type": "overloaded_error", "message": "Overloaded"}}, "Overloaded", True),
        ({"error": {"status": "UNAVAILABLE", "message": "high demand"}}, "high demand", True),
        ({"error": {"type": "invalid_request_error", "message": "timeout is no key"}}, "no", False),
        ({"error": {"code": "insufficient_quota", "message": "pay", "status": 429}}, "pay", False),
        ({"error": "Internal Server Error"}, "Internal Server Error", True),
        ({"error": "no such model"}, "no such model", False),
        ({"error": {"message": {"detail": "nested"}}}, "nested", False),
        ({"errors": [{"code": 7000, "message": "No route"}], "success": False}, "No route", False),
        ({"choices": None, "base_resp": {"status_code": 1, "status_msg": "login"}}, "login", False),
        ({"code": 503, "msg": "busy, later", "data": None}, "error 503: busy, later", True),
        ({"detail": "Not authenticated"}, "Not authenticated", False),
        ([{"error": {"code": 503, "message": "high demand"}}], "error 503: high demand", True),
        (body(error={"code": 502, "message": "lost on the way"}), "502: lost on the way", True),
        (body(choice={"error": {"code": 502, "message": "Upstream"}}), "502: Upstream", True),
        (body("", choice={"error": "Upstream lost"}), "Upstream lost", False),
        (message(content="The answer is 4", error={"code": 500, "message": "x"}), "500: x", True),
        (message(content=None, refusal="I will not"), "I will not", False),
        (message(content=[{"type": "refusal", "refusal": "I will not"}]), "I will not", False),
        ({"choices": []}, "no choices", True),
        ({"choices": None}, "no choices", True),
        ({"id": "x", "choices": [], "usage": {"prompt_tokens": 1}}, "no choices", True),
        ({"choices": "none"}, "no choices", True),
        ({}, "no choices", True),
        ([], "no choices", True),
        ({"object": "list", "models": []}, "models", False),
        ("", "it is empty", True),
        ('{"choices": [{"mess', '{"choices"', True),
        ("<html><style>p {}</style><p>Please <b>sign in</b></p></html>", "Please sign in", False),
        (None, "it is empty", True),
        (17, "", True),
    ],
)  # fmt: skip
def test_a_good_status_without_a_completion_is_told_in_the_endpoints_words(
    data: object, told: str, again: bool
) -> None:
    found = failed(data)
    reason = judged(found)
    text = str(reason) if isinstance(reason, EngineError) else reason.reason
    assert text.startswith("the endpoint's reply is no chat completion")
    assert told in text
    assert isinstance(reason, EndpointError) is not again


def test_a_good_status_can_say_that_the_prompt_is_too_long() -> None:
    error = {"code": 400, "message": "This model's maximum context length is 4096 tokens"}
    assert isinstance(judged(failed({"error": error})), PromptTooLong)


ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.text(max_size=4), inner),
    max_leaves=8,
)


@hypothesis.settings(max_examples=25)
@given(ODD)
def test_any_json_is_a_completion_or_a_failure_that_can_be_judged(data: object) -> None:
    for found in (read_reply(data), failure_of(400, {}, data, now=NOW)):
        assert isinstance(found, Reply) or judged(found)


@pytest.mark.parametrize("beside", BESIDE)
def test_no_field_beside_a_text_can_cost_it(beside: str) -> None:
    odd: tuple[object, ...] = (
        None,
        True,
        -1,
        1e400,
        10**40,
        "x",
        [],
        {},
        [[]],
        [{}, None],
        {"x": 1},
    )
    for value in odd:
        data = message(content=A, **{beside: value})
        data["choices"][0][beside] = value
        assert read(data | {beside: value}).text == A


def events(*chunks: object, end: str = "data: [DONE]\n\n") -> bytes:
    return "".join(f"data: {json.dumps(c)}\n\n" for c in chunks).encode() + end.encode()


def chunk(reason: str | None = None, **delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}


def test_an_endpoint_that_streams_unasked_is_read_to_its_end() -> None:
    streamed = b": waiting\n\n" + events(
        chunk(role="assistant", content=""),
        chunk(reasoning_content="hm "),
        chunk(reasoning_content="41?"),
        chunk(content="half \ud83d"),
        chunk(content="\ude00 made "),
        chunk(content=[part("whole")]),
        chunk("length"),
        {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4}},
    )
    found = read(read_body(streamed, None))
    assert (found.text, found.reasoning) == ("half \U0001f600 made whole", "hm 41?")
    assert (found.finish_reason, found.completion_tokens) == ("length", 4)


def test_a_stream_that_breaks_off_may_be_whole_the_next_time() -> None:
    assert may_pass(failed(read_body(events(chunk(content="The answer is 4"), end=""), None)))


def test_an_error_in_a_stream_is_told() -> None:
    error = {"error": {"code": 502, "message": "Upstream lost"}}
    for streamed in (events(chunk(content="The answer"), error), events(error)):
        assert failed(read_body(streamed, None)).body.message == "Upstream lost"


def written(text: str) -> str:
    return json.dumps(body(text), ensure_ascii=False)


@pytest.mark.parametrize(
    ("content", "charset", "text"),
    [
        (json.dumps(body()).encode(), None, A),
        (b"\xef\xbb\xbf" + json.dumps(body()).encode(), None, A),
        (b"\n\n  " + json.dumps(body()).encode() + b"\n", None, A),
        (written("caf\u00e9").encode("latin-1"), "latin-1", "caf\u00e9"),
        (written("caf\u00e9").encode("utf-16"), "utf-16", "caf\u00e9"),
        (written("caf\u00e9").encode("utf-16"), None, "caf\u00e9"),
        (json.dumps(body("X 42")).encode().replace(b"X", b"\xff"), "utf-8", f"{FFFD} 42"),
        (json.dumps(body("X 42")).encode().replace(b"X", b"\xff"), "no-such", f"{FFFD} 42"),
        (json.dumps(body("X 42")).encode().replace(b"X", b"\xed\xa0\xbd"), None, f"{FFFD} 42"),
        (json.dumps(body("X 42")).encode().replace(b"X", b"\xed\xa0\xbd\xed\xb8\x80"), None,
         "\U0001f600 42"),
        (json.dumps(json.dumps(body())).encode(), None, A),
        (json.dumps(body(usage={"prompt_tokens": 7})).replace("7", "9" * 5000).encode(), None, A),
    ],
)  # fmt: skip
def test_a_body_is_read_whatever_it_is_written_in(
    content: bytes, charset: str | None, text: str
) -> None:
    assert read(read_body(content, charset)).text == text


def test_a_body_nested_without_end_is_text() -> None:
    assert isinstance(read_body(b"[" * 100_000, None), str)
