"""An engine without a model: it replies from a script, for tests and benchmarks of all the rest."""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future

from colm.models.engine_settings import EngineSettings
from colm.models.engines.base import EngineInfo, EngineStats, GenerationRequest
from colm.models.engines.pending import PendingRequest, PendingRequests
from colm.models.errors import Cancelled, EngineError, PromptTooLong
from colm.models.messages import Completion

#: How much of the last turn `{last}` stands for, in characters.
LAST_CHARS = 80

Script = Callable[[GenerationRequest], str]


class ScriptedEngine:
    """Replies at once, or after `settings.delay` seconds; the same request gets the same text.

    A token is a word between white space. `reply` replaces the script of the settings; it runs
    inside `submit` and may raise an EngineError, which becomes that request's own.
    """

    def __init__(self, settings: EngineSettings, *, reply: Script | None = None) -> None:
        self._reply = reply or (lambda request: _from_template(settings.reply, request))
        self._delay = settings.delay
        self._dies_on, self._hangs_on = settings.crash_on, settings.stall_on
        self._hanging = False
        self._tickets = PendingRequests()
        self._info = EngineInfo(
            engine="scripted",
            model=settings.model,
            dtype="",
            device="",
            context_length=settings.max_model_len,
            capacity=settings.max_num_seqs,
        )

    @property
    def info(self) -> EngineInfo:
        return self._info

    @property
    def stats(self) -> EngineStats:
        return self._tickets.stats

    @property
    def progress_counter(self) -> int:
        """Time, unless it was told to hang: its timers cannot."""
        return 0 if self._hanging else time.monotonic_ns()

    def submit(self, request: GenerationRequest) -> Future[Completion]:
        ticket = self._tickets.open(request)
        if ticket.settled:
            return ticket.future
        if _holds(request, self._hangs_on):
            self._hanging = True
        if self._hanging:
            return ticket.future
        outcome: Completion | EngineError | None = self._outcome(ticket)
        wait = self._delay
        if request.deadline is not None and request.deadline < ticket.submitted + wait:
            wait, outcome = request.deadline - ticket.submitted, None
        if wait > 0:
            # A timer that fires after its ticket was cancelled or closed finds it settled.
            timer = threading.Timer(wait, self._settle, [ticket, outcome])
            timer.daemon = True
            timer.start()
        else:
            self._settle(ticket, outcome)
        return ticket.future

    def cancel(self, request_id: str) -> bool:
        return self._tickets.cancel(request_id)

    def close(self) -> None:
        self._tickets.close(Cancelled("the engine is closed"))

    def _outcome(self, ticket: PendingRequest) -> Completion | EngineError:
        try:
            return self._complete(ticket)
        except EngineError as error:
            return error

    def _settle(self, ticket: PendingRequest, outcome: Completion | EngineError | None) -> None:
        """`outcome` None: the deadline comes first."""
        if _holds(ticket.request, self._dies_on) and not ticket.settled:
            os.kill(os.getpid(), signal.SIGKILL)
        if self._hanging:
            return
        if outcome is None:
            self._tickets.expire(ticket)
        elif isinstance(outcome, EngineError):
            self._tickets.fail(ticket, outcome)
        else:
            seconds = time.monotonic() - ticket.submitted
            self._tickets.count_step(1)
            timed = outcome.model_copy(update={"total_s": seconds})
            chosen = bool(ticket.request.choices)
            self._tickets.finish(ticket, timed, opened=None if chosen else "")

    def _complete(self, ticket: PendingRequest) -> Completion:
        request, sampling = ticket.request, ticket.request.sampling
        prompt_tokens = sum(len(turn.content.split()) for turn in request.messages)
        limit = self._info.context_length
        if limit is not None and prompt_tokens + sampling.max_new_tokens > limit:
            raise PromptTooLong(
                f"the prompt has {prompt_tokens} tokens and asks for {sampling.max_new_tokens}"
                f" more; the context has {limit}"
            )
        text = _cut(self._reply(request), sampling.stop)
        words = text.split()
        if request.choices:
            text = next((c for c in request.choices if c in text), request.choices[0])
            words = text.split()
        full = len(words) > sampling.max_new_tokens
        if full:
            words = words[: sampling.max_new_tokens]
            text = " ".join(words)
        return Completion(
            text=text,
            finish_reason="length" if full else "stop",
            prompt_tokens=prompt_tokens,
            completion_tokens=len(words),
            engine=self._info.engine,
            model=self._info.model,
            seed=sampling.seed,
            choice_logprobs=_likelihoods(request.choices, text),
        )


def _holds(request: GenerationRequest, text: str | None) -> bool:
    return text is not None and any(text in turn.content for turn in request.messages)


def _from_template(template: str, request: GenerationRequest) -> str:
    last = request.messages[-1].content[:LAST_CHARS] if request.messages else ""
    return template.replace("{last}", last)


def _likelihoods(choices: tuple[str, ...], chosen: str) -> dict[str, float] | None:
    """As likely as the script is sure of itself: 9 in 10 for the choice that its reply holds."""
    others = max(1, len(choices) - 1)
    return {c: math.log(0.9 if c == chosen else 0.1 / others) for c in choices} or None


def _cut(text: str, stops: tuple[str, ...]) -> str:
    """`text` up to the first of `stops`, without it."""
    ends = [end for stop in stops if (end := text.find(stop)) >= 0]
    return text[: min(ends)] if ends else text
