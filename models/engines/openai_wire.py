"""What goes over the wire to an OpenAI-compatible endpoint, and what its replies mean. No I/O."""

from __future__ import annotations

import base64
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError

from models.engines.base import GenerationRequest
from models.errors import EndpointError, EngineError, PromptTooLong
from models.messages import ForeignText, Turn

#: Seconds before the second attempt; doubles with each further one, up to LONGEST_WAIT.
FIRST_WAIT = 0.5
LONGEST_WAIT = 30.0
#: An endpoint that asks for a longer pause than this is given up on.
LONGEST_RETRY_AFTER = 300.0
MAX_MESSAGE_CHARS = 500

_CONTEXT = re.compile(
    r"context[ _](length|size|window)|prompt is too long|too many (input )?tokens", re.IGNORECASE
)
_CONTEXT_CODES = {"context_length_exceeded", "exceed_context_size_error"}
#: Media types by how a file begins.
_KINDS = {
    b"\x89PNG": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF8": "image/gif",
    b"RIFF": "image/webp",
}
#: A 429 that waiting does not cure.
_FINAL_CODES = {"insufficient_quota"}


@dataclass(frozen=True, kw_only=True)
class Reply:
    """A completion as the endpoint gave it; counts are 0 where it does not say."""

    text: str
    finish_reason: Literal["stop", "length"]
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int


@dataclass(frozen=True, kw_only=True)
class Setback:
    """An attempt that failed in a way that another may not."""

    reason: str
    #: Seconds that the endpoint asked for.
    retry_after: float | None = None


class _PromptDetails(BaseModel):
    cached_tokens: int | None = Field(default=None, ge=0)


class _Usage(BaseModel):
    prompt_tokens: int = Field(default=0, ge=0)
    completion_tokens: int = Field(default=0, ge=0)
    prompt_tokens_details: _PromptDetails | None = None


class _Said(BaseModel):
    content: ForeignText | None = None
    refusal: ForeignText | None = None


class _Choice(BaseModel):
    message: _Said
    finish_reason: str | None = None


class _Body(BaseModel):
    choices: list[_Choice] = Field(min_length=1)
    usage: _Usage | None = None


def payload(model: str, request: GenerationRequest) -> dict[str, Any]:
    """The body of the POST for `request`."""
    sampling = request.sampling
    body: dict[str, Any] = {
        "model": model,
        "messages": [_turn(turn, request.images) for turn in request.messages],
        "max_tokens": sampling.max_new_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "stream": False,
    }
    if sampling.stop:
        body["stop"] = list(sampling.stop)
    if sampling.seed is not None:
        body["seed"] = sampling.seed
    return body


def _turn(turn: Turn, images: Mapping[str, bytes]) -> dict[str, Any]:
    """A turn as the protocol has it: images are data URLs, before the words."""
    if not turn.images:
        return {"role": turn.role, "content": turn.content}
    if missing := [name for name in turn.images if name not in images]:
        raise EngineError(f"image {missing[0][:12]} was not handed to the engine")
    shown = [{"type": "image_url", "image_url": {"url": _url(images[n])}} for n in turn.images]
    return {"role": turn.role, "content": [*shown, {"type": "text", "text": turn.content}]}


def _url(image: bytes) -> str:
    kind = next((kind for start, kind in _KINDS.items() if image.startswith(start)), None)
    if kind is None:
        raise EngineError("an image is neither PNG, JPEG, GIF nor WebP")
    return f"data:{kind};base64,{base64.b64encode(image).decode('ascii')}"


def read_reply(data: object) -> Reply:
    """The completion in a 200's JSON; EndpointError if there is none in it."""
    try:
        body = _Body.model_validate(data)
    except ValidationError as error:
        where = ", ".join(sorted({".".join(map(str, e["loc"])) or "body" for e in error.errors()}))
        raise EndpointError(f"the endpoint's reply is no chat completion: see {where}") from error
    choice, usage = body.choices[0], body.usage or _Usage()
    if choice.message.content is None or choice.finish_reason == "content_filter":
        why = choice.message.refusal or f"finish_reason {choice.finish_reason!r}"
        raise EndpointError(f"the endpoint gave no text: {why[:MAX_MESSAGE_CHARS]}")
    details = usage.prompt_tokens_details or _PromptDetails()
    return Reply(
        text=choice.message.content,
        finish_reason="length" if choice.finish_reason in ("length", "max_tokens") else "stop",
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        cached_tokens=min(details.cached_tokens or 0, usage.prompt_tokens),
    )


def read_failure(
    status: int, headers: Mapping[str, str], data: object, *, now: datetime
) -> Setback | EngineError:
    """What a status other than 200 means: worth another attempt, or final."""
    message, code = _said(data)
    reason = f"HTTP {status}: {message}" if message else f"HTTP {status}"
    if status in (400, 413, 422) and (code in _CONTEXT_CODES or _CONTEXT.search(message)):
        return PromptTooLong(f"the endpoint refused the prompt: {message}")
    transient = status in (408, 429) or status >= 500
    if transient and code not in _FINAL_CODES:
        wait = _retry_after(headers.get("retry-after", ""), now)
        if wait is None or wait <= LONGEST_RETRY_AFTER:
            return Setback(reason=reason, retry_after=wait)
        reason += f" (it asks for a pause of {wait:.0f} s)"
    return EndpointError(f"the endpoint refused the request: {reason}")


def pause_before(attempt: int, setback: Setback, rng: random.Random) -> float:
    """Seconds to wait before `attempt` (2 or more): exponential, jittered, never below Retry-After.

    The jitter keeps the workers that one outage stopped from coming back all at once.
    """
    most = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** (attempt - 2))
    return max(most * rng.uniform(0.5, 1.0), setback.retry_after or 0.0)


def _said(data: object) -> tuple[str, str]:
    """The message and the code in an error body, whichever of the common shapes it has."""
    if isinstance(data, str):
        return data.strip()[:MAX_MESSAGE_CHARS], ""
    if not isinstance(data, dict):
        return "", ""
    inner = data.get("error", data)
    if not isinstance(inner, dict):
        return str(inner)[:MAX_MESSAGE_CHARS], ""
    message = inner.get("message") or inner.get("detail") or ""
    code = inner.get("code")
    return str(message)[:MAX_MESSAGE_CHARS], str(
        code if isinstance(code, str) else inner.get("type")
    )


def _retry_after(value: str, now: datetime) -> float | None:
    """Seconds in a Retry-After header (seconds or an HTTP date); None if it has none."""
    if re.fullmatch(r"\d+(\.\d+)?", value.strip()):
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds())
