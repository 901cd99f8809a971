"""The one protocol that every engine keeps, whatever runs beneath it."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Protocol

from colm.models.errors import EngineError
from colm.models.messages import Completion, Lane, Sampling, Turn


@dataclass(frozen=True, kw_only=True)
class GenerationRequest:
    """One generation, independent of every other that shares its batch."""

    #: Unique among the requests that the engine holds; used by `cancel`.
    request_id: str
    messages: tuple[Turn, ...]
    sampling: Sampling
    #: The bytes of every image that the turns name.
    images: Mapping[str, bytes] = field(default_factory=dict)
    #: Reading of `time.monotonic()` after which the engine gives up with DeadlineExceeded.
    deadline: float | None = None
    #: "overnight" requests wait while "interactive" ones do, though never for ever.
    lane: Lane = "interactive"
    #: Score these continuations instead of generating (see `colm.models.messages.Step.choices`).
    choices: tuple[str, ...] = ()
    #: Requests of one conversation (same query and participant): what one computed is kept, so
    #: that the next need not compute the beginning that they share.
    conversation: str | None = None
    #: Folder of a LoRA adapter, or its name at an endpoint; None: that of the engine's settings.
    adapter: str | None = None


@dataclass(frozen=True, kw_only=True)
class EngineInfo:
    """Engine, model and device, as recorded with every completion."""

    engine: str
    model: str
    dtype: str
    device: str
    #: Prompt and completion together, in tokens; None where the endpoint does not say.
    context_length: int | None
    #: How many requests are worth handing over at once: the worker's thread count.
    capacity: int
    #: SHA-256 of the adapter of requests that name none.
    adapter: str | None = None


@dataclass(kw_only=True)
class EngineStats:
    """Counters since the start, for metrics and benchmarks."""

    requests: int = 0
    failures: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    #: Tokens that were guessed ahead, and how many of them came true.
    guessed_tokens: int = 0
    right_guesses: int = 0
    steps: int = 0
    batch_sizes: dict[int, int] = field(default_factory=dict)

    @property
    def hit_rate(self) -> float:
        """The share of prompt tokens that were not computed again, as their KV was kept."""
        return self.cached_tokens / self.prompt_tokens if self.prompt_tokens else 0.0

    @property
    def mean_batch(self) -> float:
        """How many requests shared a step, on average."""
        rows = sum(size * steps for size, steps in self.batch_sizes.items())
        return rows / self.steps if self.steps else 0.0

    def summary(self) -> str:
        """One line for a log."""
        return (
            f"{self.requests} requests, {self.failures} failed;"
            f" {self.prompt_tokens} prompt tokens, {self.hit_rate:.0%} of them reused;"
            f" {self.completion_tokens} completion tokens,"
            f" {self.mean_batch:.1f} requests a step"
        )


def cannot_score(info: EngineInfo) -> EngineError:
    """For a request with choices, where the engine cannot tell how likely they are."""
    return EngineError(
        f"the engine {info.engine!r} cannot tell how likely given continuations are; 'transformers'"
        " can"
    )


def cannot_adapt(info: EngineInfo) -> EngineError:
    """For a request with an adapter, where the engine takes none."""
    return EngineError(f"the engine {info.engine!r} takes no adapters; 'transformers' does")


def why_no_text(completion_tokens: int, finish_reason: str, *, reasoned: bool) -> str:
    """Why a completion that shows nothing shows nothing, and what to do. It is no answer."""
    if finish_reason == "length":
        spent = f"all {completion_tokens} tokens" if completion_tokens else "all tokens"
        where = "went into reasoning" if reasoned else "were spent without text"
        return f"{spent} {where}: raise max_new_tokens"
    return f"the model {'reasoned and ' if reasoned else ''}ended its turn without text"


class Engine(Protocol):
    """Generates many requests at once; a request's result never depends on its batch-mates.

    `submit` never blocks on generation. The future resolves to a Completion, its thought apart from
    its text, or raises an EngineError: PromptTooLong (names both lengths), DeadlineExceeded,
    Cancelled, EndpointError.
    One request's error is its own. `close` cancels what is left and frees the device.
    """

    @property
    def info(self) -> EngineInfo: ...

    @property
    def stats(self) -> EngineStats: ...

    @property
    def progress_counter(self) -> int:
        """Another number whenever something has moved for a request: tokens, prompts, an end.

        A watchdog takes an engine that has work and whose counter stands still to be stalled. An
        engine whose every request is bounded by a timeout of its own may count the time instead.
        """

    def submit(self, request: GenerationRequest) -> Future[Completion]: ...

    def cancel(self, request_id: str) -> bool: ...

    def close(self) -> None: ...
