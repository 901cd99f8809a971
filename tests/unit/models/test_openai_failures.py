"""What follows from a status that is no good one, whatever the shape of the words with it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from colm.models.engines.openai.wire import Failure, Setback, failure_of, judged
from colm.models.errors import EndpointError, EngineError, PromptTooLong

NOW = datetime(2026, 5, 1, tzinfo=UTC)


def failure(status: int, data: object = None, **headers: str) -> Failure:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return failure_of(status, named, data, now=NOW)


def outcome(status: int, data: object = None, **headers: str) -> Setback | EngineError:
    return judged(failure(status, data, **headers))


@pytest.mark.parametrize(
    "status",
    [408, 409, 424, 425, 429, 498, 499, 500, 502, 503, 504, 507, 520, 522, 524, 529, 530, 598],
)
def test_a_status_that_may_pass_is_a_setback(status: int) -> None:
    assert outcome(status, {"error": {"message": "no"}}) == Setback(reason=f"HTTP {status}: no")


@pytest.mark.parametrize(
    "status",
    [301, 304, 400, 401, 402, 403, 404, 405, 406, 410, 413, 415, 422, 423, 451, 501, 505, 511],
)
def test_a_status_that_will_not_pass_is_final(status: int) -> None:
    found = outcome(status, {"error": {"message": "no"}})
    assert type(found) is EndpointError
    assert f"HTTP {status}: no" in str(found)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({"error": {"message": "no such model"}}, "no such model"),
        ([{"error": {"code": 400, "message": "no such model"}}], "no such model"),
        ({"error": "no such model", "error_type": "validation"}, "no such model"),
        ({"error": {"error": {"message": "no such model"}}}, "no such model"),
        ({"error": {"errors": [{"message": "no such model"}]}}, "no such model"),
        ({"error": {"msg": "no such model"}}, "no such model"),
        ({"error": [{"message": "one"}, {"message": "two"}]}, "one; two"),
        ({"errors": ["one", {"message": "two"}]}, "one; two"),
        ({"object": "error", "message": "no such model", "code": 40401}, "no such model"),
        ({"message": {"detail": [{"loc": ["body", "n"], "msg": "wrong"}]}}, "body.n: wrong"),
        ({"detail": [{"loc": ["body", "seed"], "msg": "too much"}]}, "body.seed: too much"),
        ({"detail": "no such model"}, "no such model"),
        ({"detail": {"message": "no such model"}}, "no such model"),
        ({"status": 400, "error": "Bad Request", "message": "no such model"}, "no such model"),
        ({"status": "error", "message": "failed", "error": {"message": "no such model"}},
         "no such model"),
        ({"Message": "no such model"}, "no such model"),
        ({"errorMessage": "no such model"}, "no such model"),
        ({"error_code": 17, "error_msg": "no such model"}, "no such model"),
        ({"base_resp": {"status_code": 2013, "status_msg": "no such model"}}, "no such model"),
        ({"fault": {"faultstring": "no such model", "detail": {}}}, "no such model"),
        ({"title": "Wrong", "detail": "no such model", "status": 400}, "no such model"),
        ({"error": {"message": "Provider returned error", "metadata": {"raw": "no such model"}}},
         "Provider returned error: no such model"),
        ({"error": {"message": "half \ud83d"}}, "half \N{REPLACEMENT CHARACTER}"),
        ({"trouble": "no such model"}, '{"trouble": "no such model"}'),
        ("no such\n\n  model ", "no such model"),
        ({"error": "no such\x1b[2J\r model\u0000"}, "no such [2J model"),
        ("<html><style>p{}</style>\r\n<body><h1>502 Bad</h1>\n<p>way</body>", "502 Bad way"),
        ({"error": {"message": ["one", "two"]}}, "one; two"),
    ],
)  # fmt: skip
def test_an_error_is_told_in_the_endpoints_words_whatever_their_shape(
    data: object, told: str
) -> None:
    assert str(outcome(400, data)) == f"the endpoint refused the request: HTTP 400: {told}"


@pytest.mark.parametrize(
    "data", [None, "", {}, [], 7, True, {"error": None}, {"error": {"message": None}}, [[[]]]]
)
def test_an_error_without_words_is_its_status(data: object) -> None:
    assert "HTTP 400" in str(outcome(400, data))


def test_a_body_of_endless_depth_or_breadth_is_an_error_like_others() -> None:
    deep: Any = {"error": "x"}
    for _ in range(500):
        deep = {"error": deep}
    broad = {"error": [{"message": "x" * 1000} for _ in range(10_000)]}
    for data in (deep, broad):
        assert len(str(outcome(400, data))) < 1000


@pytest.mark.parametrize(
    "told",
    [
        "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
        "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 4000",
        "Input validation error: `inputs` must have less than 1024 tokens. Given: 4000",
        "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000",
        "prompt is too long: 210000 tokens > 200000 maximum",
        "Input is too long for requested model.",
        "This model's maximum prompt length is 131072 but the request contains 200000 tokens.",
        "The decoder prompt (length 5000) is longer than the maximum model length of 4096.",
        "Requested tokens (5000) exceed context window of 4096",
        "the request exceeds the available context size, try increasing it",
        "Prompt length 5000 is greater than max_seq_len 4096",
        "Number of prompt tokens: 5000 exceeds model max length: 4096",
        "Invalid request: Your request exceeded model token limit: 8192",
        "too many tokens: size limit exceeded by 1234 tokens",
        "Please reduce the length of the messages or completion.",
        "Range of input length should be [1, 30720]",
    ],
)
@pytest.mark.parametrize("status", [400, 413, 422, 500])
def test_a_prompt_that_is_too_long_is_told_as_such(status: int, told: str) -> None:
    assert isinstance(outcome(status, {"error": {"message": told}}), PromptTooLong)


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (429, "Rate limit reached: too many tokens per minute"),
        (401, "this key has no access to the context window"),
        (413, "Request Entity Too Large"),
        (400, "max_tokens is too large: 32768. This model supports at most 16384 tokens"),
        (503, "the model is loading its context window"),
    ],
)
def test_other_limits_are_not_taken_for_the_contexts(status: int, told: str) -> None:
    assert not isinstance(outcome(status, {"error": {"message": told}}), PromptTooLong)


@pytest.mark.parametrize(
    ("headers", "data", "wait"),
    [
        ({"retry_after": "7"}, None, 7.0),
        ({"retry_after": "1s"}, None, 1.0),
        ({"retry_after": "0.5"}, None, 0.5),
        ({"retry_after_ms": "1200"}, None, 1.2),
        ({"retry_after_ms": "1200", "retry_after": "9"}, None, 1.2),
        ({"retry_after": "-5"}, None, None),
        ({"retry_after": "\u0665"}, None, None),
        ({"retry_after": "Wed, 21 Oct 2015 07:28:00 GMT"}, None, 0.0),
        ({}, [{"error": {"message": "x", "details": [{"retryDelay": "34s"}]}}], 34.0),
        ({}, {"error": {"message": "x", "retry_after": 3}}, 3.0),
        ({"retry_after": "2"}, {"error": {"retry_after": 3}}, 2.0),
        ({}, {"error": {"message": "x", "retry_after": None}}, None),
    ],
)
def test_a_pause_is_as_long_as_the_endpoint_asks_for(
    headers: dict[str, str], data: object, wait: float | None
) -> None:
    found = outcome(429, data, **headers)
    assert isinstance(found, Setback)
    assert found.retry_after == wait


@pytest.mark.parametrize(
    ("status", "header", "again"),
    [(500, "false", False), (400, "true", True), (500, "", True), (500, "perhaps", True)],
)
def test_an_endpoint_may_say_itself_whether_to_try_again(
    status: int, header: str, again: bool
) -> None:
    assert isinstance(outcome(status, None, x_should_retry=header), Setback) is again


@pytest.mark.parametrize("code", ["insufficient_quota", "billing_hard_limit_reached"])
def test_what_has_to_be_paid_first_is_final(code: str) -> None:
    assert isinstance(outcome(429, {"error": {"message": "pay", "code": code}}), EndpointError)


def test_a_redirect_tells_where_to_and_no_secret_of_it() -> None:
    where = "https://api.example.com/v1/chat/completions"
    found = str(outcome(308, "Permanent Redirect", location=f"{where}?token=abc"))
    assert f"HTTP 308: it has moved to {where}?token=***: correct base_url" in found
    assert str(outcome(302)).endswith("HTTP 302")


def test_secrets_are_hidden_before_a_message_is_cut() -> None:
    told = "x" * 495 + "sk-secret"
    found = judged(failure(401, told), lambda text: text.replace("sk-secret", "***"))
    assert str(found).endswith("x***")
