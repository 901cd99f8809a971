"""Engines whose batch another library runs: we keep the line, the room, deadlines and stops.

The library is handed no more than there is room for, so what waits, waits with us: lanes, deadlines
and cancelling mean here what they mean in the other engines.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from colm.models.engines.base import EngineInfo
from colm.models.engines.native.base import LocalEngine
from colm.models.engines.native.decoding import DeviceLost
from colm.models.engines.native.sampler import SampledToken
from colm.models.engines.native.sequence import SequenceState
from colm.models.engines.native.tokenizer import ChatTokenizer
from colm.models.engines.native.waiting_queue import WaitingQueue
from colm.models.errors import EngineError, EngineLost

log = logging.getLogger(__name__)

#: Seconds that a newcomer may wait while the library computes.
POLL = 0.01


@dataclass(frozen=True, kw_only=True)
class StepEvents:
    """New tokens or the end of a running request."""

    generation: SequenceState
    drawn: Sequence[SampledToken] = ()
    #: It has left the library's batch.
    gone: bool = False
    #: Why it failed; then it is gone.
    error: str | None = None


class Library(Protocol):
    """A batch that runs elsewhere. For one thread, and its requests are known by identity."""

    @property
    def room(self) -> Slots: ...

    def add(self, generation: SequenceState) -> None:
        """Let it run. Only what fits into `room` is added. EngineError if the library refuses."""

    def drop(self, generation: SequenceState) -> None:
        """No more news of it."""

    def news(self, seconds: float) -> Iterable[StepEvents]:
        """The next events, after a short wait. Raises DeviceLost when the device is gone."""

    def close(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Slots:
    """Budget of a paged KV cache: whole pages for each request."""

    rows: int
    pages: int
    page: int

    def fits(self, reaches: Iterable[int], reach: int) -> bool:
        """Whether a request of `reach` tokens fits beside running ones of `reaches` tokens."""
        rows = [*reaches, reach]
        return len(rows) <= self.rows and sum(-(-r // self.page) for r in rows) <= self.pages


class LibraryEngine(LocalEngine):
    """Feeds a `Library` from a waiting line, and settles requests by its news."""

    def __init__(
        self,
        tokenizer: ChatTokenizer,
        library: Library,
        *,
        info: EngineInfo,
        context: int,
        ends: frozenset[int],
        stops: tuple[str, ...] = (),
    ) -> None:
        super().__init__(tokenizer, info=info, context=context, ends=ends, stops=stops)
        self._library = library
        self._line: WaitingQueue[SequenceState] = WaitingQueue()
        self._running: list[SequenceState] = []

    def _run(self) -> None:
        while (arrivals := self._arrived(wait=not (self._running or len(self._line)))) is not None:
            try:
                self._turn(arrivals)
            except DeviceLost as error:
                log.critical("the device is lost: %s", error)
                self._tickets.close(EngineLost(f"the device is lost: {error}"))
                break
            except Exception as error:  # a fault of ours must not stop the loop
                log.exception("a step of the engine failed")
                self._abandon(EngineError(f"the engine failed: {error!r}"))
        self._library.close()
        del self._library  # and with it the model

    def _turn(self, arrivals: Iterable[SequenceState]) -> None:
        for generation in arrivals:
            self._line.join(generation, overnight=generation.ticket.request.lane == "overnight")
        self._sweep()
        self._admit()
        if self._running:
            for news in self._library.news(POLL):
                self._take(news)

    def _sweep(self) -> None:
        """Let go of everyone who is withdrawn or out of time."""
        now = time.monotonic()
        self._line.drop(lambda generation: self._gone(generation, now))
        for generation in [g for g in self._running if self._gone(g, now)]:
            self._leave(generation)

    def _gone(self, generation: SequenceState, now: float) -> bool:
        if generation.ticket.overdue(now):
            self._tickets.expire(generation.ticket)
        return generation.ticket.settled

    def _admit(self) -> None:
        while (first := self._line.first()) is not None:
            if not self._library.room.fits([g.max_len for g in self._running], first.max_len):
                return
            generation = self._line.pop()
            generation.started = time.monotonic()
            self._running.append(generation)  # first: a fault fails all that run, and forgets none
            try:
                self._library.add(generation)
            except EngineError as error:
                self._tickets.fail(generation.ticket, error)
                self._running.remove(generation)

    def _take(self, news: StepEvents) -> None:
        generation = news.generation
        if generation.ticket.settled:
            return
        try:
            for drawn in news.drawn:
                generation.append(drawn)
                if generation.finish_reason is not None:
                    break
            if news.error is not None:
                raise EngineError(f"the model failed: {news.error}")
            if news.gone and generation.finish_reason is None:
                raise EngineError("the request ended before its completion did")
            if generation.finish_reason is not None:
                self._complete(generation)
        except EngineError as error:
            self._tickets.fail(generation.ticket, error)
        if generation.ticket.settled:
            self._leave(generation, gone=news.gone)

    def _complete(self, generation: SequenceState) -> None:
        ticket = generation.ticket
        seed, now = ticket.request.sampling.seed, time.monotonic()
        completion = generation.completion(self._info, seed, now)
        self._tickets.finish(ticket, completion, opened=generation.opened)

    def _leave(self, generation: SequenceState, *, gone: bool = False) -> None:
        self._running.remove(generation)
        if not gone:
            self._library.drop(generation)

    def _abandon(self, error: EngineError) -> None:
        for generation in list(self._running):
            self._tickets.fail(generation.ticket, error)
            self._leave(generation)
