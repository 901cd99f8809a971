"""Base class of the engines in this process: one thread owns the model.

Submitting threads render and tokenize their own prompts and hand them over; each gets a future,
settled by the engine's thread as soon as its own request ends. A future's callbacks run on that
thread: keep them short.
"""

from __future__ import annotations

import atexit
import logging
import threading
from abc import ABC, abstractmethod
from concurrent.futures import Future

from colm.models.engines.base import (
    EngineInfo,
    EngineStats,
    GenerationRequest,
    cannot_adapt,
    cannot_score,
)
from colm.models.engines.native.sampler import RowSampler
from colm.models.engines.native.sequence import SequenceState
from colm.models.engines.native.tokenizer import ChatTokenizer
from colm.models.engines.pending import PendingRequest, PendingRequests
from colm.models.errors import Cancelled, EngineError, EngineLost, PromptTooLong
from colm.models.messages import Completion

log = logging.getLogger(__name__)

#: Seconds that `close` waits for the forward pass in hand.
CLOSE_TIMEOUT = 30.0


class LocalEngine(ABC):
    """An `Engine` but for `_run`, its thread's life. Call `_start` when all is ready.

    Use it in the process that made it: threads do not survive a fork.
    """

    #: Whether it can tell how likely given continuations are.
    scores = False

    def __init__(
        self,
        tokenizer: ChatTokenizer,
        *,
        info: EngineInfo,
        context: int,
        ends: frozenset[int],
        stops: tuple[str, ...] = (),
    ) -> None:
        self._tokenizer = tokenizer
        self._info = info
        self._context = context
        self._ends = ends
        self._stops = stops
        self._tickets = PendingRequests()
        self._wake = threading.Condition()
        self._arrivals: list[SequenceState] = []
        self._closing = False
        # A daemon, with close() at exit: a thread that Python waits for would hang a worker whose
        # owner forgot to close, and one that it does not wait for dies inside a forward pass.
        self._thread = threading.Thread(target=self._live, name="engine", daemon=True)

    @property
    def info(self) -> EngineInfo:
        return self._info

    @property
    def stats(self) -> EngineStats:
        return self._tickets.stats

    @property
    def progress_counter(self) -> int:
        return self._tickets.progress_counter

    def submit(self, request: GenerationRequest) -> Future[Completion]:
        ticket = self._tickets.open(request)
        if ticket.settled:
            return ticket.future
        try:
            generation = self._prepared(ticket)
        except EngineError as error:
            self._tickets.fail(ticket, error)
            return ticket.future
        except Exception as error:  # a fault of ours must not leave a caller waiting
            log.exception("a prompt could not be made")
            self._tickets.fail(ticket, EngineError(f"the prompt cannot be made: {error!r}"))
            return ticket.future
        with self._wake:
            self._arrivals.append(generation)
            self._wake.notify()
        return ticket.future

    def cancel(self, request_id: str) -> bool:
        return self._tickets.cancel(request_id)

    def close(self) -> None:
        """Returns within CLOSE_TIMEOUT even when a forward pass hangs; all futures are settled."""
        self._tickets.close(Cancelled("the engine is closed"))
        with self._wake:
            first, self._closing = not self._closing, True
            self._wake.notify()
        if threading.current_thread() is not self._thread:
            self._thread.join(CLOSE_TIMEOUT)
        atexit.unregister(self.close)
        if first:
            log.info("%s", self.stats.summary())

    def _start(self) -> None:
        atexit.register(self.close)
        self._thread.start()

    def _live(self) -> None:
        try:
            self._run()
        finally:  # whatever ended it: nobody waits for a thread that is gone
            self._tickets.close(EngineLost("the engine's thread has ended"))

    @abstractmethod
    def _run(self) -> None: ...

    def _prepared(self, ticket: PendingRequest) -> SequenceState:
        request = ticket.request
        if request.choices and not self.scores:
            raise cannot_score(self._info)
        made = self._tokenizer.prompt(request.messages, request.images)
        prompt = made.tokens
        choices = tuple(self._tokenizer.continuation(choice) for choice in request.choices)
        if not all(choices):
            raise EngineError("one of the choices has no tokens")
        new_tokens = max(map(len, choices), default=request.sampling.max_new_tokens)
        if len(prompt) + new_tokens > self._context:
            raise PromptTooLong(
                f"the prompt has {len(prompt)} tokens and asks for {new_tokens} more;"
                f" the context has {self._context}"
            )
        if not prompt:
            raise EngineError("the prompt has no tokens")
        return SequenceState(
            ticket=ticket,
            prompt=prompt,
            dice=RowSampler(request.sampling),
            decode=self._tokenizer.decode,
            ends=self._ends,
            turn_ends=self._tokenizer.ends - self._ends,
            opened=made.opened,
            stops=(*request.sampling.stop, *self._stops),
            choices=choices,
            pixels=made.pixels,
            adapter_folder=self._adapter_folder(request),
        )

    def _adapter_folder(self, request: GenerationRequest) -> str | None:
        if request.adapter is not None:
            raise cannot_adapt(self._info)
        return None

    def _arrived(self, *, wait: bool) -> list[SequenceState] | None:
        """Requests since the last call; `wait` blocks for one. None: the engine is closing."""
        with self._wake:
            while wait and not (self._closing or self._arrivals):
                self._wake.wait()
            arrivals, self._arrivals = self._arrivals, []
            return None if self._closing else arrivals
