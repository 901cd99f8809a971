"""What an OpenAI-compatible endpoint replies, and the completion in it. No I/O.

A good text is not lost for a field beside it: counts that cannot be read are 0, and what is not
needed is not looked at.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

from colm.models.engines.openai.wire import DEEPEST, Failure, Told, read_error, told_by
from colm.models.messages import MAX_TOKENS
from colm.models.texts import is_blank, replace_unstorable

#: Finish reasons, without case: the text was cut; the attempt failed, and another may not; the
#: endpoint keeps the rest to itself.
_CUT = re.compile(r"length|max_?\w*tokens?|tokens?_?limit|context_?window|incomplete|truncat")
_FAILED = re.compile(
    r"error|insufficient_system_resource|abort|cancel|timed?_?out|overload|unavailable|interrupt"
    r"|fail|(^|[._])other$"
)
_KEPT_BACK = re.compile(
    r"filter|safety|sensitive|prohibited|block|recitation|spii|refus|policy|moderat|malformed"
    r"|language|guardrail|violat|censor|flagged"
)
#: Where some endpoints put the body of the protocol.
_WRAPPERS = ("data", "result", "response", "output", "body")
#: Where a message holds its reasoning, which is no part of its text.
_REASONING = ("reasoning_content", "reasoning", "thinking", "reasoning_details", "thinking_blocks")


@dataclass(frozen=True, kw_only=True)
class Reply:
    """A completion as the endpoint gave it; counts are 0 where it does not say."""

    text: str
    #: What the model thought on the way, where the endpoint tells it.
    reasoning: str
    finish_reason: Literal["stop", "length"]
    #: The finish reason in the endpoint's own words.
    ended: str
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int


def read_body(content: bytes, charset: str | None) -> object:
    """The JSON of a body, or of its events; its text where it holds neither."""
    text: object = _decoded(content, charset)
    for _ in range(2):  # some gateways send JSON that holds the JSON
        if isinstance(text, str):
            text = _parsed(text)
    return text


def read_reply(data: object) -> Reply | Failure:
    """The completion in the body of a good status, or what the endpoint says instead of one."""
    if not isinstance(data, (dict, list)):
        # An empty body, or one that breaks off, may be whole the next time; a page in HTML is not.
        broken = not isinstance(data, str) or not data or data[0] in "{["
        return Failure(status=200, told=read_error(data or "it is empty"), may_pass=broken or None)
    body = _unwrapped(data)
    choice = _choice(body)
    if choice is None:
        return _without_choice(body or data)
    for held in (body, choice, choice["message"]):
        told = read_error(held.get("error"))
        if told.message or told.status:
            return Failure(status=200, told=told)
    return _completed(choice, body)


def _completed(choice: Mapping[str, Any], body: Mapping[str, Any]) -> Reply | Failure:
    message, reason = choice["message"], _reason_of(choice)
    stopped = reason.lower()
    text, thought, refused = _parts(message.get("content"))
    if _KEPT_BACK.search(stopped) or _FAILED.search(stopped):
        words = (_refusal(message) or refused, f"finish_reason {reason!r}")
        told = Told(message=replace_unstorable(": ".join(filter(None, words))))
        return Failure(status=200, told=told, may_pass=not _KEPT_BACK.search(stopped))
    if is_blank(text) and (refusal := _refusal(message) or refused):
        return Failure(status=200, told=Told(message=replace_unstorable(refusal)), may_pass=False)
    thoughts = [thought, *(_told_thought(message.get(key)) for key in _REASONING)]
    usage = body.get("usage")
    return Reply(
        text=replace_unstorable(text),
        reasoning=replace_unstorable(next((told for told in thoughts if told), "")),
        finish_reason="length" if _CUT.search(stopped) else "stop",
        ended=reason,
        **_counts(usage if isinstance(usage, dict) else {}),
    )


def _without_choice(body: Mapping[str, Any] | list[Any]) -> Failure:
    left = {k: v for k, v in body.items() if k != "usage"} if isinstance(body, dict) else body
    told = read_error(left)
    if not (told.message or told.status) and (not body or "choices" in body):
        return Failure(status=200, told=Told(message="it has no choices"), may_pass=True)
    return Failure(status=200, told=told_by(left))


def _unwrapped(data: dict[str, Any] | list[Any]) -> Mapping[str, Any]:
    """The body of the protocol, wherever in `data` it is."""
    if isinstance(data, list):
        data = next((item for item in data if isinstance(item, dict)), {})
    inner = [data.get(key) for key in _WRAPPERS] if "choices" not in data else []
    return next((held for held in inner if isinstance(held, dict) and "choices" in held), data)


def _choice(body: Mapping[str, Any]) -> dict[str, Any] | None:
    """The first choice, its message under that name; None where there is none."""
    choices = body.get("choices")
    held = [choices] if isinstance(choices, dict) else choices if isinstance(choices, list) else []
    found = [choice for choice in held if isinstance(choice, dict)]
    if not found:
        return None
    # Asked for one, some endpoints give several; some not in order.
    first = min(found, key=lambda choice: _count(choice.get("index")))
    held = [first.get(key) for key in ("message", "delta", "text")]
    message = next((message for message in held if message is not None), None)
    return {**first, "message": message if isinstance(message, dict) else {"content": message}}


def _reason_of(choice: Mapping[str, Any]) -> str:
    """Why the choice ended, in the endpoint's words."""
    for key in ("finish_reason", "finishReason", "stop_reason"):
        value = choice.get(key)
        if isinstance(value, dict):
            value = value.get("type")
        if isinstance(value, str):
            return value
    return ""


def _refusal(message: Mapping[str, Any]) -> str:
    refusal = message.get("refusal")
    return refusal.strip() if isinstance(refusal, str) else ""


def _parts(content: object) -> tuple[str, str, str]:
    """Text, reasoning and refusal in a content: a text, or parts of several kinds, joined."""
    told = {"text": "", "reasoning": "", "refusal": ""}
    for part in content if isinstance(content, list) else [content]:
        kind, text = _part(part)
        told[kind] += text
    return told["text"], told["reasoning"], told["refusal"]


def _part(part: object) -> tuple[str, str]:
    """Which of the three a part is, and its text; none for images, calls and the like."""
    if isinstance(part, (int, float)) and not isinstance(part, bool):
        return "text", json.dumps(part)
    if not isinstance(part, dict):
        return "text", part if isinstance(part, str) else ""
    kind = str(part.get("type") or "text").lower()
    if "think" in kind or "reason" in kind or part.get("thought") is True:
        return "reasoning", _told_thought(part)
    if kind == "refusal":
        return "refusal", _text(part, "refusal", "text")
    return "text", _text(part, "text", "content", "value") if "text" in kind else ""


def _text(part: Mapping[str, Any], *keys: str) -> str:
    value = next((part[key] for key in keys if part.get(key) is not None), "")
    if isinstance(value, dict):
        value = value.get("value")
    return value if isinstance(value, str) else ""


def _told_thought(thought: object, depth: int = DEEPEST) -> str:
    match thought:
        case str():
            return thought
        case list() if depth:
            return "".join(_told_thought(part, depth - 1) for part in thought)
        case dict() if depth:
            held = (thought.get(key) for key in ("text", "thinking", "reasoning", "summary"))
            return next((_told_thought(value, depth - 1) for value in held if value), "")
    return ""


def _counts(usage: Mapping[str, Any]) -> dict[str, Any]:
    prompt = _count(usage.get("prompt_tokens")) or _count(usage.get("input_tokens"))
    details = usage.get("prompt_tokens_details") or usage.get("input_tokens_details")
    if not isinstance(details, dict):
        details = {"cached_tokens": usage.get("prompt_cache_hit_tokens")}
    return {
        "prompt_tokens": prompt,
        "completion_tokens": (
            _count(usage.get("completion_tokens")) or _count(usage.get("output_tokens"))
        ),
        "cached_tokens": min(_count(details.get("cached_tokens")), prompt),
    }


def _count(value: object) -> int:
    """A number of tokens; 0 for whatever is none."""
    if isinstance(value, str) and re.fullmatch(r"\d{1,10}", value.strip(), re.ASCII):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return 0
    return int(value) if 0 <= value <= MAX_TOKENS else 0


def _decoded(content: bytes, charset: str | None) -> str:
    """The text of a body: by its own marks, else by its header, else as far as it can be read."""
    own = json.detect_encoding(content)
    ways = [(own, "strict"), (charset or own, "strict"), (own, "surrogatepass")]
    for encoding, errors in ways:
        try:
            return content.decode(encoding, errors)
        except (ValueError, LookupError):
            continue
    return content.decode(own, "replace")


def _parsed(text: str) -> object:
    text = text.lstrip("\ufeff").strip()
    if re.match(r"(data|event|id|retry)?:", text):
        return _joined(text)
    try:
        return json.loads(text, parse_int=_whole)
    except (ValueError, RecursionError):
        return text


def _whole(digits: str) -> int:
    """As `int`, which refuses what has thousands of digits."""
    return int(digits[:400])


def _joined(events: str) -> object:
    """The body that a stream of events adds up to, from an endpoint that streams unasked."""
    found = [_parsed_event(line) for line in events.splitlines() if line.startswith("data:")]
    chunks = [_unwrapped(chunk) for chunk in found if isinstance(chunk, dict)]
    choices = [choice for chunk in chunks if (choice := _choice(chunk)) is not None]
    if not choices:
        return next(iter(chunks), events)
    messages = [choice["message"] for choice in choices]
    last = {key: _last(choices, key) for key in ("finish_reason", "error")}
    if not last["finish_reason"] and "[DONE]" not in events:
        last["finish_reason"] = "interrupted"
    message = {
        "content": list(chain.from_iterable(_as_parts(m.get("content")) for m in messages)),
        "refusal": "".join(_refusal(m) for m in messages),
        **{k: "".join(_told_thought(m.get(k)) for m in messages) for k in _REASONING},
    }
    return {
        "choices": [{"message": message, **last}],
        **{key: _last(chunks, key) for key in ("usage", "error")},
    }


def _parsed_event(line: str) -> object:
    try:
        return json.loads(line.removeprefix("data:"))
    except (ValueError, RecursionError):
        return None


def _as_parts(content: object) -> Sequence[object]:
    return content if isinstance(content, list) else [content]


def _last(held: Sequence[Mapping[str, Any]], key: str) -> object:
    """The last that is told under `key`."""
    return next((item[key] for item in reversed(held) if item.get(key)), None)
