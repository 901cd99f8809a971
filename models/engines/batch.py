"""The running batch: requests join and leave it at every token.

One turn sweeps out who is done, prefills whoever enters, and draws one token for every row. The
running rows are the first rows of the cache, without a gap; the one that is being prefilled, if
any, is right behind them.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.engines.base import EngineInfo
from models.engines.generation import Generation
from models.engines.kept import MIN_SHARED, KeptPrefixes, shared_prefix
from models.engines.runner import Runner
from models.engines.sampling import draw
from models.engines.slots import RowKV, Shape
from models.engines.tickets import Tickets
from models.engines.waiting import Room, WaitingLine
from models.errors import EngineError

#: Prompt tokens computed in one turn before the running rows get their next token.
PREFILL_TOKENS = 512

#: What a forward pass may raise for the sake of one request.
_FAULTS = (RuntimeError, ValueError, LookupError, MemoryError)


class DeviceLost(Exception):
    """The device answers every further operation with an error."""


@dataclass(frozen=True, kw_only=True)
class _Stepped:
    """Adjacent rows that went through one forward pass, and the logits for each."""

    rows: Sequence[Generation]
    logits: Tensor


class Batch:
    """Decides what each forward pass does. For one thread; settles tickets as requests end."""

    def __init__(
        self,
        runner: Runner,
        *,
        tickets: Tickets,
        info: EngineInfo,
        room: Room,
        kept: KeptPrefixes[RowKV],
    ) -> None:
        self._runner = runner
        self._tickets = tickets
        self._info = info
        self._room = room
        self._kept = kept
        self._line: WaitingLine[Generation] = WaitingLine()
        self._rows: list[Generation] = []
        self._entering: Generation | None = None

    @property
    def busy(self) -> bool:
        return bool(self._rows or self._entering or len(self._line))

    def turn(self, arrivals: Iterable[Generation]) -> None:
        """One step of the loop. Raises DeviceLost; any other fault is its request's own."""
        for generation in arrivals:
            self._line.join(generation, overnight=generation.ticket.request.lane == "overnight")
        self._sweep()
        self._prefill()
        self._decode()
        self._sweep()

    def abandon(self, error: EngineError) -> None:
        """Fail what runs, and forget all that the cache holds; who waits goes on waiting."""
        for generation in [*self._rows, *([self._entering] if self._entering else [])]:
            self._tickets.fail(generation.ticket, error)
        self._rows, self._entering = [], None
        self.release()

    def release(self) -> None:
        """Give the cache's memory back."""
        self._kept.clear()
        self._runner.release()

    def _sweep(self) -> None:
        """Let go of everyone who is done, withdrawn or out of time."""
        now = time.monotonic()
        self._line.drop(lambda generation: self._gone(generation, now))
        if self._entering is not None and self._gone(self._entering, now):
            self._vacate(self._entering, len(self._rows))
            self._entering = None
        for row in reversed(range(len(self._rows))):
            generation = self._rows[row]
            if generation.finish_reason is not None:
                self._complete(generation, row, now)
            if self._gone(generation, now):
                self._leave(row)

    def _gone(self, generation: Generation, now: float) -> bool:
        if generation.ticket.overdue(now):
            self._tickets.expire(generation.ticket)
        return generation.ticket.settled

    def _complete(self, generation: Generation, row: int, now: float) -> None:
        ticket = generation.ticket
        try:
            completion = generation.completion(self._info, ticket.request.sampling.seed, now)
        except EngineError as error:
            self._tickets.fail(ticket, error)
            return
        self._tickets.finish(ticket, completion)
        self._keep(generation, row)

    def _keep(self, generation: Generation, row: int) -> None:
        conversation = generation.ticket.request.conversation
        if conversation is None or not self._kept.wants(generation.filled):
            return
        try:
            kv = self._runner.copy_out(row, generation.filled)
        except torch.OutOfMemoryError:
            self._kept.clear()  # keeping is a convenience: running requests come first
        else:
            self._kept.keep(conversation, generation.held, kv)

    def _leave(self, row: int) -> None:
        """Free a row: the last one takes its place, and who is entering closes up."""
        self._vacate(self._rows[row], row)
        last = self._rows.pop()
        if row < len(self._rows):
            self._runner.move(len(self._rows), row, last.filled)
            self._rows[row] = last
        if self._entering is not None:
            self._runner.move(len(self._rows) + 1, len(self._rows), self._entering.filled)

    def _vacate(self, generation: Generation, row: int) -> None:
        if generation.poisoned:
            self._runner.blank(row)

    def _prefill(self) -> None:
        left = PREFILL_TOKENS
        while left > 0 and (generation := self._entering or self._admit()) is not None:
            chunk = generation.prompt[generation.filled : generation.filled + left]
            left -= len(chunk)
            try:
                logits = self._runner.prefill(len(self._rows), chunk, generation.filled)
            except _FAULTS as error:
                self._entering = None
                self._fault(generation, error)
                self._vacate(generation, len(self._rows))
                continue
            generation.filled += len(chunk)
            if generation.filled == len(generation.prompt):
                self._entering = None
                self._rows.append(generation)
                self._take([generation], logits)
                generation.first_token = time.monotonic()

    def _admit(self) -> Generation | None:
        """Whoever is next in line, if there is room."""
        first = self._line.first()
        reaches = [generation.reach for generation in self._rows]
        if first is None or not self._room.fits(reaches, first.reach):
            return None
        generation = self._line.pop()
        generation.started = time.monotonic()
        need = Shape(rows=len(reaches) + 1, tokens=max([*reaches, generation.reach]))
        try:
            self._runner.reserve(need, rows=len(reaches))
            self._reuse(generation)
        except _FAULTS as error:
            self._fault(generation, error)
            return None
        self._entering = generation
        return generation

    def _reuse(self, generation: Generation) -> None:
        """Start from the longest prefix that is kept, or that a running row holds."""
        kept, target = self._kept.find(generation.prompt), len(self._rows)
        length = kept.length if kept else MIN_SHARED - 1
        source = None
        for row, running in enumerate(self._rows):
            shared = shared_prefix(generation.prompt[:-1], running.held)
            if shared > length:
                source, length = row, shared
        if source is not None:
            self._runner.move(source, target, length)
        elif kept is not None:
            self._runner.copy_in(target, kept.kv, length)
        else:
            return
        generation.filled = generation.cached = length

    def _decode(self) -> None:
        rows = [generation for generation in self._rows if generation.finish_reason is None]
        if len(rows) < len(self._rows):
            # Someone ended with the first token: close the gap before the others go on.
            self._sweep()
            rows = list(self._rows)
        if not rows:
            return
        self._tickets.count_step(len(rows))
        for stepped in self._forward(rows, 0):
            for generation in stepped.rows:
                generation.filled += 1
                generation.batch_size = max(generation.batch_size, len(rows))
            self._take(stepped.rows, stepped.logits)

    def _forward(self, rows: Sequence[Generation], first: int) -> Iterator[_Stepped]:
        """The logits of `rows`; where they cannot be had together, of each row that can alone.

        To try again is safe: a pass writes what the one before it wrote, to the same places.
        """
        try:
            logits = self._runner.decode(
                [row.drawn[-1] for row in rows], [row.filled for row in rows], first=first
            )
        except _FAULTS as error:
            if len(rows) == 1:
                self._fault(rows[0], error)
                return
            for offset, row in enumerate(rows):
                yield from self._forward([row], first + offset)
        else:
            yield _Stepped(rows=rows, logits=logits)

    def _take(self, rows: Sequence[Generation], logits: Tensor) -> None:
        for generation, drawn in zip(rows, draw(logits, [r.dice for r in rows]), strict=True):
            try:
                generation.take(drawn)
            except EngineError as error:
                self._tickets.fail(generation.ticket, error)

    def _fault(self, generation: Generation, error: Exception) -> None:
        if isinstance(error, torch.AcceleratorError):
            raise DeviceLost(str(error)) from error
        generation.poisoned = True
        self._tickets.fail(generation.ticket, EngineError(f"the model failed: {error}"))
