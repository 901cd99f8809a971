"""The pending requests of an engine: their futures and counters, behind one lock.

A request is settled exactly once, by the first of: the engine's result, its error, `cancel`,
`close`. An engine need not check whether a request was cancelled before it settles it.
"""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

from colm.models.answers.thoughts import split_thought
from colm.models.engines.base import EngineStats, GenerationRequest
from colm.models.errors import Cancelled, DeadlineExceeded, EngineError
from colm.models.messages import MAX_COMPLETION_CHARS, Completion


@dataclass(frozen=True, kw_only=True, eq=False)
class PendingRequest:
    """One request and the future that its caller holds."""

    request: GenerationRequest
    #: Reading of `time.monotonic()` at submit.
    submitted: float
    future: Future[Completion] = field(default_factory=Future)

    @property
    def settled(self) -> bool:
        return self.future.done()

    def overdue(self, now: float) -> bool:
        return self.request.deadline is not None and now >= self.request.deadline


class PendingRequests:
    """The open requests of one engine and its counters. Thread-safe.

    A future's callbacks run in the thread that settles it, without the lock.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[str, PendingRequest] = {}
        self._stats = EngineStats()
        self._closed: EngineError | None = None
        self._pulse = 0
        self._pid = os.getpid()

    @property
    def stats(self) -> EngineStats:
        """A copy of the counters as they are now."""
        with self._lock:
            return replace(self._stats, batch_sizes=dict(self._stats.batch_sizes))

    @property
    def progress_counter(self) -> int:
        """Grows with every `record_progress`, step and completion."""
        return self._pulse

    def record_progress(self) -> None:
        """Count progress. For the engine's own thread."""
        self._pulse += 1

    def open(self, request: GenerationRequest) -> PendingRequest:
        """A ticket for `request`; it is settled already when the request is refused."""
        ticket = PendingRequest(request=request, submitted=time.monotonic())
        # From here on Future.cancel() is refused: withdrawing goes through the engine's `cancel`.
        ticket.future.set_running_or_notify_cancel()
        with self._lock:
            self._stats.requests += 1
            refusal = self._refusal(ticket)
            if refusal is None:
                self._open[request.request_id] = ticket
            else:
                self._stats.failures += 1
        if refusal is not None:
            ticket.future.set_exception(refusal)
        return ticket

    def finish(
        self, ticket: PendingRequest, completion: Completion, *, opened: str | None = ""
    ) -> bool:
        """Hand over the completion, its thought apart; False if the ticket was settled before.

        `opened`: how the prompt ends, where it leaves a thought open; None where the text is not
        the model's own words. A completion that is nothing but a thought has no text.
        """
        if opened is not None:
            completion = thought_apart(completion, opened)
        with self._lock:
            if not self._take(ticket):
                return False
            self._stats.prompt_tokens += completion.prompt_tokens
            self._stats.cached_tokens += completion.cached_tokens
            self._stats.completion_tokens += completion.completion_tokens
            self.record_progress()
        ticket.future.set_result(completion)
        return True

    def fail(self, ticket: PendingRequest, error: EngineError) -> bool:
        """Hand over the error; False if the ticket was settled before."""
        with self._lock:
            if not self._take(ticket):
                return False
            self._stats.failures += 1
        ticket.future.set_exception(error)
        return True

    def expire(self, ticket: PendingRequest) -> bool:
        seconds = (ticket.request.deadline or ticket.submitted) - ticket.submitted
        return self.fail(
            ticket, DeadlineExceeded(f"no completion within the {seconds:.1f} s that it was given")
        )

    def cancel(self, request_id: str) -> bool:
        """True if the request was open; its future then raises Cancelled."""
        with self._lock:
            ticket = self._open.get(request_id)
        return ticket is not None and self.fail(ticket, Cancelled(f"{request_id} was withdrawn"))

    def close(self, error: EngineError) -> None:
        """Fail what is open, and refuse what comes from now on, with the like of `error`."""
        with self._lock:
            self._closed = self._closed or error
            left = list(self._open.values())
        for ticket in left:
            self.fail(ticket, _like(error))

    def count_step(self, batch_size: int) -> None:
        with self._lock:
            self._stats.steps += 1
            self.record_progress()
            sizes = self._stats.batch_sizes
            sizes[batch_size] = sizes.get(batch_size, 0) + 1

    def count_guesses(self, guessed: int, right: int) -> None:
        with self._lock:
            self._stats.guessed_tokens += guessed
            self._stats.right_guesses += right

    def _refusal(self, ticket: PendingRequest) -> EngineError | None:
        if os.getpid() != self._pid:
            # Threads do not survive a fork: the future would never be settled.
            return EngineError(
                f"the engine was made in process {self._pid} and cannot be used in its fork"
                f" {os.getpid()}: make the engine after forking, or use a pool of threads"
            )
        if self._closed:
            return _like(self._closed)
        if ticket.request.request_id in self._open:
            return EngineError(f"the engine holds a request {ticket.request.request_id} already")
        if ticket.overdue(ticket.submitted):
            return DeadlineExceeded("the deadline had passed when the request was submitted")
        return None

    def _take(self, ticket: PendingRequest) -> bool:
        held = self._open.get(ticket.request.request_id) is ticket
        if held:
            del self._open[ticket.request.request_id]
        return held


def thought_apart(completion: Completion, opened: str = "") -> Completion:
    """`completion` with its thought out of its text, which is empty where nothing else is in it."""
    thought, text = split_thought(completion.text, opened=opened)
    if text == completion.text:
        return completion
    thoughts = "\n\n".join(filter(None, (completion.thought, thought)))
    return completion.model_copy(update={"text": text, "thought": thoughts[:MAX_COMPLETION_CHARS]})


def _like(error: EngineError) -> EngineError:
    """A copy: an exception that many callers raise would gather all their tracebacks."""
    return type(error)(str(error))
