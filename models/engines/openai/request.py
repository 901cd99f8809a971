"""Requests to an OpenAI-compatible endpoint, without the fields it refuses. No I/O.

Endpoints differ in what they refuse. A field that a refusal names as unknown is left out of the
next attempt, and of everything from then on if that succeeds. A value that is refused is the user's
to mend; but a seed is nobody's, and a `top_p` of 1 changes nothing.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

from colm.models.engine_settings import EngineSettings, TokensField
from colm.models.engines.base import GenerationRequest
from colm.models.engines.openai.wire import ErrorBody, Failure, is_about_length
from colm.models.errors import EngineError
from colm.models.messages import Sampling, Turn

#: Seeds are sent modulo this: several endpoints take 32 bits with a sign.
SEEDS = 2**31
#: The setting of system turns, among what an endpoint may not take.
SYSTEM = "system_role"
_LIMITS: tuple[TokensField, ...] = ("max_tokens", "max_completion_tokens")
#: Media types by how a file begins.
_KINDS = {
    b"\x89PNG": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF8": "image/gif",
    b"RIFF": "image/webp",
}

#: Statuses with which a field is refused; 200 is an error in a good reply.
_ABOUT_FIELDS = {200, 400, 422, 500}
_NAMED = {
    "seed": r"\bseed\b",
    "temperature": r"\btemperature\b",
    "top_p": r"\btop_?p\b",
    # A word of English too.
    "stop": r"['\"`\[.]stop(_?sequences)?['\"`\]]|\bstop_?sequences?\b"
    r"|(param\w*|arg\w*|field|propert\w+|key|model|input)s?:? stop\b",
    "max_tokens": r"\bmax_tokens\b",
    "max_completion_tokens": r"\bmax_completion_tokens\b",
}
#: How far from a field's name stands what is said of it (characters).
_NEAR = 120
_NOT_TAKEN = re.compile(
    r"unsupported|unrecogni[sz]ed|unknown|unexpected|extraneous|extra inputs|extra_forbidden"
    r"|additional propert|forbidden|deprecated|cannot find field|only the default|only one"
    r"|mutually exclusive|no longer|invalid (param|arg|field|key|propert)"
    r"|(not|n't|cannot)( \w+){0,3}? (support|permit|allow|accept|recogni|expect|specif|valid|enabl"
    r"|available|implement|use)",
    re.IGNORECASE,
)
_ABOUT_VALUE = re.compile(
    r"less than|greater than|at (most|least)|between|[<>]=|maximum|minimum|range|positive"
    r"|too (long|large|small|high|low|many)|exceed|must be (a|an|in|one|of|>|<)\b",
    re.IGNORECASE,
)
#: Of two fields that are not taken together the second goes.
_TOGETHER = re.compile(r"\bboth\b|only one|together|either|simultaneous|mutually", re.IGNORECASE)
_NO_SYSTEM = re.compile(
    r"\b(system|developer)\b[^.]{0,40}\b(not\b|unsupported|unknown|invalid|unexpected)"
    r"|(\bnot\b|n't|unsupported|unknown|invalid|unexpected)[^.]{0,40}\b(system|developer)\b"
    r"|roles? must alternate|only [^.]{0,3}user\b|should be [^.]{0,3}user\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """Fields that an endpoint takes, and those that the settings add."""

    #: Fields that are left out, and SYSTEM.
    untaken: frozenset[str] = frozenset()
    limit_field: TokensField = "max_tokens"
    extra: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: EngineSettings) -> Self:
        """As the settings have it."""
        untaken = {*settings.omit, *([] if settings.system_role else [SYSTEM])}
        return cls(
            untaken=frozenset(untaken | ({*_LIMITS} if "max_tokens" in untaken else set())),
            limit_field=settings.max_tokens_field,
            extra=settings.extra_body,
        )

    def without(self, more: frozenset[str]) -> Self:
        return replace(self, untaken=self.untaken | more)

    @property
    def limit(self) -> TokensField | None:
        """The field that bounds a completion; None where the endpoint takes none."""
        return next((f for f in (self.limit_field, *_LIMITS) if f not in self.untaken), None)

    def unheeded(self, sampling: Sampling | None = None) -> tuple[str, ...]:
        """Sampling fields that do not reach the endpoint."""
        names = self.untaken & {"temperature", "top_p", "seed", SYSTEM}
        if sampling is not None and sampling.seed is None:
            names -= {"seed"}
        return tuple(sorted(names | (set() if self.limit else {"max_tokens"})))


def payload(model: str, request: GenerationRequest, dialect: Dialect) -> dict[str, Any]:
    """The body of the POST for `request`."""
    turns = request.messages
    if SYSTEM in dialect.untaken:
        turns = _without_system(turns)
    return {
        "model": model,
        "messages": [_turn(turn, request.images) for turn in turns],
        "stream": False,
        **_sampled(request.sampling, dialect),
        **dialect.extra,
    }


def adapted(dialect: Dialect, failure: Failure, request: GenerationRequest) -> Dialect | None:
    """The dialect in which a refused request may pass; None where the refusal names nothing."""
    if failure.effective_status not in _ABOUT_FIELDS or is_about_length(failure):
        return None
    refused = _refused(failure.body, _sampled(request.sampling, dialect))
    spoken = SYSTEM not in dialect.untaken and any(t.role == "system" for t in request.messages)
    if spoken and not refused and _NO_SYSTEM.search(failure.body.message):
        refused = {SYSTEM}
    other = dialect.without(frozenset(refused))
    # Without any bound no completion is asked for, unless the settings say so.
    return other if refused and (other.limit or not dialect.limit) else None


def _sampled(sampling: Sampling, dialect: Dialect) -> dict[str, Any]:
    """The fields of the body that say how to draw."""
    fields: dict[str, Any] = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "stop": list(sampling.stop) or None,
        "seed": None if sampling.seed is None else sampling.seed % SEEDS,
    }
    if dialect.limit is not None:
        fields[dialect.limit] = sampling.max_new_tokens
    return {k: v for k, v in fields.items() if v is not None and k not in dialect.untaken}


def _refused(error: ErrorBody, sent: Mapping[str, Any]) -> set[str]:
    """The fields, of those that were sent, which the endpoint does not take."""
    refused = {name for name in sent if _is_refused(name, sent[name], error)}
    if {"temperature", "top_p"} <= refused and _TOGETHER.search(error.message):
        refused.remove("temperature")
    return refused


def _is_refused(name: str, value: object, error: ErrorBody) -> bool:
    named = re.compile(_NAMED[name], re.IGNORECASE)
    mentions = [
        error.message[max(0, match.start() - _NEAR) : match.end() + _NEAR]
        for match in named.finditer(error.message)
    ]
    if any(named.search(f"'{place}'") for place in error.fields):
        mentions.append(" ".join([error.message, *error.codes]))
    if name == "seed" or (name == "top_p" and value == 1.0):
        return bool(mentions)
    return any(_NOT_TAKEN.search(text) and not _ABOUT_VALUE.search(text) for text in mentions)


def _without_system(turns: Sequence[Turn]) -> tuple[Turn, ...]:
    """The turns, with what the system is told before what the user says next."""
    system_texts: list[str] = []
    others: list[Turn] = []
    for turn in turns:
        if turn.role == "system":
            system_texts.append(turn.content)
        elif turn.role == "user":
            content = "\n\n".join([*system_texts, turn.content])
            others.append(turn.model_copy(update={"content": content}))
            system_texts.clear()
        else:
            others.append(turn)
    return (*others, *(Turn(role="user", content=text) for text in system_texts))


def _turn(turn: Turn, images: Mapping[str, bytes]) -> dict[str, Any]:
    """A turn as the protocol has it: images are data URLs, before the words."""
    if not turn.images:
        return {"role": turn.role, "content": turn.content}
    if missing := [name for name in turn.images if name not in images]:
        raise EngineError(f"image {missing[0][:12]} was not handed to the engine")
    parts = [{"type": "image_url", "image_url": {"url": _url(images[n])}} for n in turn.images]
    return {"role": turn.role, "content": [*parts, {"type": "text", "text": turn.content}]}


def _url(image: bytes) -> str:
    kind = next((kind for start, kind in _KINDS.items() if image.startswith(start)), None)
    if kind is None:
        raise EngineError("an image is neither PNG, JPEG, GIF nor WebP")
    return f"data:{kind};base64,{base64.b64encode(image).decode('ascii')}"
