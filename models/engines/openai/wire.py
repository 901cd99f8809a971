"""What an OpenAI-compatible endpoint says where it gives no completion, and what follows. No I/O.

The table of statuses is in docs/reference/settings.md; a test holds the two together.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from colm.models.errors import EndpointError, EngineError, PromptTooLong
from colm.models.texts import replace_unstorable
from colm.models.urls import redact

#: An endpoint that asks for a longer pause than this is given up on.
LONGEST_RETRY_AFTER = 300.0
MAX_MESSAGE_CHARS = 500
#: How deep and how far an error body is looked through.
DEEPEST, MOST_KEYS, MOST_CHARS = 6, 200, 20_000

#: Statuses of requests that may succeed as they are, at another time: timeout, conflict, failed
#: generation (TGI), too early, too many, no capacity (Groq), cancelled upstream (Google).
_MAY_PASS = {408, 409, 424, 425, 429, 498, 499}
#: Of 500 to 599, all of which may pass otherwise: not implemented, HTTP version, sign-in wanted.
_NEVER_PASS = {501, 505, 511}
#: Words of endpoints that name no status.
_PASSING = re.compile(
    r"rate[_ ]?limit|too[_ ]?many[_ ]?req|overload|timed?[_ ]?out|deadline|unavailable|busy"
    r"|(server|api|internal|network|upstream)[_ ]?(server[_ ])?error|^internal$|try[_ ]again"
    r"|resource_?exhausted|capacity|bad[_ ]?gateway|abort",
    re.IGNORECASE,
)
#: A refusal that waiting does not cure, whatever its status.
_FINAL_CODES = {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"}

#: Statuses of a prompt that is too long; 500 is that of some servers of their own making.
_ABOUT_PROMPT = {200, 400, 413, 422, 500}
_CONTEXT = re.compile(
    r"context[ _-]?(length|size|window|limit)|model( max)? length|sequence length|max_\w+_len\b"
    r"|(prompt|input)\w*( token\w*)? is too long|(prompt|input) length|string too long"
    r"|too many (input )?tokens|model token limit"
    r"|inputs?` (tokens|must have less)|token count[^.]{0,60} exceed"
    r"|exceeds? [^.]{0,40}maximum number of (input )?tokens"
    r"|reduce the length of the (messages|prompt|input)",
    re.IGNORECASE,
)
_CONTEXT_CODES = {
    "context_length_exceeded", "exceed_context_size_error", "string_above_max_length",
}  # fmt: skip

#: Where error bodies keep their words, the best first.
_WORDS = (
    "message", "msg", "detail", "error", "errors", "error_message", "error_msg", "errormessage",
    "err_msg", "status_msg", "error_description", "base_resp", "fault", "faultstring",
    "description", "reason", "title",
)  # fmt: skip
_CODES = {
    "code", "type", "status", "status_code", "statuscode", "error_code", "errorcode", "error_type",
}  # fmt: skip
_FIELDS = {"param", "parameter", "loc", "field"}
_WAITS = {"retrydelay", "retry_after"}


@dataclass(frozen=True, kw_only=True)
class Setback:
    """An attempt that failed in a way that another may not."""

    reason: str
    #: Seconds that the endpoint asked for.
    retry_after: float | None = None


@dataclass(frozen=True, kw_only=True)
class Told:
    """What an error body says, whichever of the common shapes it has."""

    message: str = ""
    #: Codes, types and states, in small letters.
    codes: frozenset[str] = frozenset()
    #: Fields of the request that it names as such.
    fields: frozenset[str] = frozenset()
    #: The HTTP status that it names.
    status: int | None = None
    #: Seconds to wait.
    wait: float | None = None


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A reply without a completion."""

    #: Of HTTP; a good one can carry an error too.
    status: int
    told: Told
    retry_after: float | None = None
    #: Whether another attempt may succeed; None where status and codes decide.
    may_pass: bool | None = None
    #: Where a redirect leads.
    location: str = ""

    @property
    def meant(self) -> int:
        """The status that it would have had, were it honest."""
        return self.told.status or 200 if self.status < 300 else self.status


def failure_of(status: int, headers: Mapping[str, str], data: object, *, now: datetime) -> Failure:
    """What an endpoint says with a status other than 2xx; `headers` have small letters."""
    told = told_by(data)
    asked = {"true": True, "false": False}.get(headers.get("x-should-retry", ""))
    wait = _seconds(headers.get("retry-after-ms", ""), 1000)
    if wait is None:
        wait = _retry_after(headers.get("retry-after", ""), now)
    return Failure(
        status=status,
        told=told,
        retry_after=told.wait if wait is None else wait,
        may_pass=asked,
        location=headers.get("location", "") if 300 <= status < 400 else "",
    )


def judged(failure: Failure, hide: Callable[[str], str] = str) -> Setback | EngineError:
    """What follows: another attempt, or an error for good. `hide` takes secrets out of texts."""
    message = hide(failure.told.message)[:MAX_MESSAGE_CHARS]
    if is_about_length(failure):
        return PromptTooLong(f"the endpoint refused the prompt: {message}")
    reason = _reason(failure, message, hide(redact(failure.location)))
    if may_pass(failure):
        wait = failure.retry_after
        if wait is None or wait <= LONGEST_RETRY_AFTER:
            return Setback(reason=reason, retry_after=wait)
        reason += f" (it asks for a pause of {wait:.0f} s)"
    if failure.status < 300:
        return EndpointError(reason)
    return EndpointError(f"the endpoint refused the request: {reason}")


def may_pass(failure: Failure) -> bool:
    """Whether the same request may succeed at another time."""
    status, codes = failure.meant, failure.told.codes
    if codes & _FINAL_CODES:
        return False
    if failure.may_pass is not None:
        return failure.may_pass
    if status < 300:
        return any(map(_PASSING.search, codes or {failure.told.message}))
    return status in _MAY_PASS or (status >= 500 and status not in _NEVER_PASS)


def is_about_length(failure: Failure) -> bool:
    """Whether the endpoint finds the prompt, with its completion, too long for the context."""
    told = failure.told
    named = told.codes & _CONTEXT_CODES or _CONTEXT.search(told.message)
    return failure.meant in _ABOUT_PROMPT and bool(named)


def told_by(data: object) -> Told:
    """What an error body says; all of it, where its shape is unknown."""
    told = read_error(data)
    if told.message or not isinstance(data, (dict, list)) or not data:
        return told
    return replace(told, message=json.dumps(data)[:MAX_MESSAGE_CHARS])


def read_error(data: object) -> Told:
    """What an error body says in a known shape; an empty message where it says nothing."""
    pairs = list(_pairs(data))
    codes = [value for key, value in pairs if key in _CODES]
    statuses = [int(str(code)) for code in codes if re.fullmatch(r"[45]\d\d", str(code)[:4])]
    waits = [_seconds(str(value), 1) for key, value in pairs if key in _WAITS]
    return Told(
        message=replace_unstorable(_words(data)),
        codes=frozenset(code.lower() for code in codes if isinstance(code, str)),
        fields=frozenset(name for key, value in pairs if key in _FIELDS for name in _names(value)),
        status=next(iter(statuses), None),
        wait=next((wait for wait in waits if wait is not None), None),
    )


def _reason(failure: Failure, message: str, location: str) -> str:
    if failure.location:
        return f"HTTP {failure.status}: it has moved to {location}: correct base_url"
    if failure.status >= 300:
        return f"HTTP {failure.status}: {message}" if message else f"HTTP {failure.status}"
    named = f"error {failure.told.status}: " if failure.told.status else ""
    return f"the endpoint's reply is no chat completion: {named}{message}"


def _pairs(data: object) -> Iterator[tuple[str, object]]:
    """The keys and values of an error body, outer ones first."""
    level, left = [data], MOST_KEYS
    for _ in range(DEEPEST):
        below: list[object] = []
        for held in level[:left]:
            if isinstance(held, dict):
                yield from ((str(key).lower(), value) for key, value in held.items())
                below += held.values()
            elif isinstance(held, list):
                below += held
        level, left = below, max(0, left - len(level))


def _words(data: object, depth: int = 0) -> str:
    match data:
        case str():
            return _plain(data)
        case list() if depth < DEEPEST:
            told = [_words(item, depth + 1) for item in data[:5]]
            return "; ".join(text for text in told if text)
        case dict() if depth < DEEPEST:
            return _words_of({str(key).lower(): value for key, value in data.items()}, depth)
    return ""


def _words_of(data: Mapping[str, object], depth: int) -> str:
    # An object that is called error knows more than the line beside it.
    first = ["error"] if isinstance(data.get("error"), (dict, list)) else []
    told = (_words(data.get(key), depth + 1) for key in (*first, *_WORDS))
    text = next((text for text in told if text), "")
    where = ".".join(_names(data.get("loc")))
    # A router's own words say less than those of the provider, which it passes on.
    metadata = data.get("metadata")
    raw = _words(metadata.get("raw"), depth + 1) if isinstance(metadata, dict) else ""
    return (f"{where}: " if where and text else "") + text + (f": {raw}" if raw else "")


def _names(value: object) -> list[str]:
    """The names in the place of a fault: a name, or the way to it."""
    parts = value if isinstance(value, list) else [value]
    return [str(part) for part in parts if isinstance(part, (str, int))]


def _plain(text: str) -> str:
    """A message in one line without control characters; of a page in HTML its words."""
    text = text.strip()[:MOST_CHARS]
    if text.startswith("<"):
        text = re.sub(r"<(style|script)\b.*?</\1>|<[^>]*>", " ", text, flags=re.S | re.I)
    return re.sub(r"[\s\x00-\x1f\x7f-\x9f]+", " ", text).strip()


def _seconds(value: str, divisor: int) -> float | None:
    """The seconds in "2.5" or "3s", divided; None where it is no such text."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*s?\s*", value, re.ASCII)
    return float(found[1]) / divisor if found else None


def _retry_after(value: str, now: datetime) -> float | None:
    """Seconds in a Retry-After header (seconds or an HTTP date); None if it has none."""
    if (seconds := _seconds(value, 1)) is not None:
        return seconds
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds())
