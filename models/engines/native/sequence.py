"""One running request: its tokens, and when it ends."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any, Literal

from pydantic import ValidationError

from colm.models.answers.thoughts import split_thought
from colm.models.engines.base import EngineInfo
from colm.models.engines.native.lora import Adapter
from colm.models.engines.native.prompt_lookup import Lookup
from colm.models.engines.native.sampler import RowSampler, SampledToken
from colm.models.engines.native.tokenizer import StopFinder
from colm.models.engines.pending import PendingRequest
from colm.models.errors import EngineError
from colm.models.messages import Completion, explain

NOT_A_NUMBER = "the model's output is not a number: try dtype = 'bfloat16' or 'float32'"

Decode = Callable[[Sequence[int]], str]


@dataclass(kw_only=True, eq=False)
class SequenceState:
    """State of one request, from its admission to its end. Belongs to the step loop's thread."""

    ticket: PendingRequest
    prompt: list[int]
    dice: RowSampler
    decode: Decode
    ends: frozenset[int]
    #: Those that end it but for a thought: some models end a thought as they end a turn.
    turn_ends: frozenset[int] = frozenset()
    #: How the prompt ends, where it leaves a thought open.
    opened: str = ""
    #: Texts that end it: the request's own, and the model's.
    stops: tuple[str, ...] = ()
    #: The tokens of each of the request's choices, where it has some.
    choices: tuple[list[int], ...] = ()
    #: Folder of its adapter, and the version of it that the request runs with to its end.
    adapter_folder: str | None = None
    adapter: Adapter | None = None
    #: The images of the prompt, until it is computed.
    pixels: Mapping[str, Any] | None = None
    #: What the model's vision part made of them: (places, width).
    features: Any = None
    #: Tokens drawn so far, the last of them not yet in the cache.
    drawn: list[int] = field(default_factory=list)
    #: Tokens of prompt and completion whose KV its row holds.
    filled: int = 0
    #: Prompt tokens whose KV was not computed for this request.
    cached: int = 0
    #: Sum of the drawn tokens' log-probabilities.
    logprob: float = 0.0
    #: Readings of time.monotonic().
    started: float = 0.0
    first_token: float = 0.0
    batch_size: int = 1
    finish_reason: Literal["stop", "length"] | None = None
    #: Its row may hold what is not finite.
    poisoned: bool = False
    #: How likely each choice is: natural logs.
    choice_logprobs: dict[str, float] | None = None
    _text: str | None = None
    _stopping: StopFinder | None = None
    _lookup: Lookup | None = None
    _looked_up: int = 0

    def __post_init__(self) -> None:
        if self.stops:
            self._stopping = StopFinder(self.stops, self.decode)

    @property
    def max_len(self) -> int:
        """The most tokens that its row will ever hold."""
        if self.choices:
            return len(self.prompt) + max(map(len, self.choices))
        return len(self.prompt) + self.ticket.request.sampling.max_new_tokens

    @property
    def adapter_sha256(self) -> str | None:
        return None if self.adapter is None else self.adapter.sha256

    @property
    def kv_tokens(self) -> list[int]:
        """The tokens whose KV its row holds."""
        return (self.prompt + self.drawn)[: self.filled]

    def append(self, drawn: SampledToken) -> None:
        """Append a token; sets `finish_reason` with the last. EngineError if it is no token."""
        if not math.isfinite(drawn.logprob):
            self.poisoned = True
            raise EngineError(NOT_A_NUMBER)
        self.drawn.append(drawn.token)
        self.logprob += drawn.logprob
        if self._ended():
            self.finish_reason = "stop"
            return
        text = None if self._stopping is None else self._stopping.push(drawn.token)
        if text is not None and not self._is_thought(text):
            self._text, self.finish_reason = text, "stop"
        elif len(self.drawn) >= self.ticket.request.sampling.max_new_tokens:
            self.finish_reason = "length"

    def _ended(self) -> bool:
        token = self.drawn[-1]
        if token in self.ends:
            return True
        return token in self.turn_ends and not self._is_thought(self.decode(self.drawn))

    def _is_thought(self, text: str) -> bool:
        """Whether the answer has not begun, which alone a stop string ends."""
        thought, answer = split_thought(text, opened=self.opened)
        return bool(thought) and not answer.strip()

    def choose(self, logprobs: Sequence[float]) -> None:
        """End with the likeliest choice. EngineError where the model's output is no number."""
        if not all(map(math.isfinite, logprobs)):
            self.poisoned = True
            raise EngineError(NOT_A_NUMBER)
        best = max(range(len(logprobs)), key=logprobs.__getitem__)
        names = self.ticket.request.choices
        self.choice_logprobs = dict(zip(names, logprobs, strict=True))
        self.drawn, self.logprob = list(self.choices[best]), logprobs[best]
        self._text, self.finish_reason = names[best], "stop"

    def guess(self, most: int) -> list[int]:
        """Tokens that may be drawn next, never more than can be; at most `most`."""
        left = self.ticket.request.sampling.max_new_tokens - len(self.drawn)
        if most <= 0:
            return []
        if self._lookup is None:
            self._lookup = Lookup(self.prompt)
        self._lookup.extend(self.drawn[self._looked_up :])
        self._looked_up = len(self.drawn)
        guessed = self._lookup.propose(min(most, left - 1))
        # A piece of an image is no token that can be drawn.
        return list(takewhile(lambda token: token >= 0, guessed))

    def judge(self, guessed: int, right: int) -> None:
        """How many of the last guesses came true."""
        if self._lookup is not None:
            self._lookup.record_acceptance(guessed, right)

    def completion(self, info: EngineInfo, seed: int | None, now: float) -> Completion:
        """The result of the request; EngineError if a message cannot hold it."""
        submitted = self.ticket.submitted
        ended = self.drawn[-1] in self.ends | self.turn_ends
        tokens = self.drawn[:-1] if ended else self.drawn
        try:
            return Completion(
                text=self.decode(tokens) if self._text is None else self._text,
                finish_reason=self.finish_reason or "length",
                prompt_tokens=len(self.prompt),
                completion_tokens=len(self.drawn),
                cached_tokens=self.cached,
                queued_s=self.started - submitted,
                first_token_s=self.first_token - self.started,
                total_s=now - submitted,
                batch_size=self.batch_size,
                engine=info.engine,
                model=info.model,
                dtype=info.dtype,
                device=info.device,
                adapter=self.adapter_sha256 or info.adapter,
                seed=seed,
                mean_logprob=self.logprob / len(self.drawn),
                choice_logprobs=self.choice_logprobs,
            )
        except ValidationError as error:
            raise EngineError(f"the completion cannot be sent: {explain(error)}") from None
