"""The running batch: requests join and leave it at every token.

A step removes finished requests, prefills entering ones, and samples a token for every row. The
running rows are the first rows of the cache, without a gap; the row in prefill is right behind.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

import torch
from torch import Tensor

from colm.models.engines.base import EngineInfo
from colm.models.engines.native.adapter_cache import AdapterCache
from colm.models.engines.native.decoding import FAULTS, Decoding
from colm.models.engines.native.kv_cache import CacheShape, RowKV
from colm.models.engines.native.lora import Adapter
from colm.models.engines.native.model_runner import Runner
from colm.models.engines.native.prefix_cache import MIN_SHARED, PrefixCache, shared_prefix
from colm.models.engines.native.scoring import score
from colm.models.engines.native.sequence import SequenceState
from colm.models.engines.native.waiting_queue import KVBudget, WaitingQueue
from colm.models.engines.pending import PendingRequests
from colm.models.errors import EngineError

#: Prompt tokens computed in one turn before the running rows get their next token.
PREFILL_TOKENS = 512


class Scheduler:
    """Decides what each forward pass does. For one thread; settles tickets as requests end."""

    def __init__(
        self,
        runner: Runner,
        *,
        tickets: PendingRequests,
        info: EngineInfo,
        room: KVBudget,
        prefixes: PrefixCache[RowKV],
        adapters: AdapterCache[Adapter],
        num_speculative_tokens: int = 0,
    ) -> None:
        self._runner = runner
        self._tickets = tickets
        self._info = info
        self._room = room
        self._prefixes = prefixes
        self._adapters = adapters
        self._decoding = Decoding(runner, tickets, num_speculative_tokens=num_speculative_tokens)
        self._waiting: WaitingQueue[SequenceState] = WaitingQueue()
        self._rows: list[SequenceState] = []
        self._entering: SequenceState | None = None

    @property
    def busy(self) -> bool:
        return bool(self._rows or self._entering or len(self._waiting))

    def step(self, arrivals: Iterable[SequenceState]) -> None:
        """One step of the loop. Raises DeviceLost; any other fault is its request's own."""
        for generation in arrivals:
            self._waiting.join(generation, overnight=generation.ticket.request.lane == "overnight")
        self._sweep()
        self._prefill()
        self._decode()
        self._sweep()

    def fail_all(self, error: EngineError) -> None:
        """Fail the running requests and clear the cache; waiting ones stay."""
        for generation in [*self._rows, *([self._entering] if self._entering else [])]:
            self._tickets.fail(generation.ticket, error)
        self._rows, self._entering = [], None
        self.release()

    def release(self) -> None:
        """Give the cache's memory back."""
        self._prefixes.clear()
        self._runner.release()

    def _sweep(self) -> None:
        """Remove requests that are finished, cancelled or past their deadline."""
        now = time.monotonic()
        self._waiting.drop(lambda generation: self._gone(generation, now))
        if self._entering is not None and self._gone(self._entering, now):
            self._vacate(self._entering, len(self._rows))
            self._entering = None
        for row in reversed(range(len(self._rows))):
            generation = self._rows[row]
            if generation.finish_reason is not None:
                self._complete(generation, row, now)
            if self._gone(generation, now):
                self._leave(row)

    def _gone(self, generation: SequenceState, now: float) -> bool:
        if generation.ticket.overdue(now):
            self._tickets.expire(generation.ticket)
        return generation.ticket.settled

    def _complete(self, generation: SequenceState, row: int, now: float) -> None:
        ticket = generation.ticket
        try:
            completion = generation.completion(self._info, ticket.request.sampling.seed, now)
        except EngineError as error:
            self._tickets.fail(ticket, error)
            return
        opened = None if generation.choices else generation.opened
        self._tickets.finish(ticket, completion, opened=opened)
        self._keep(generation, row)

    def _keep(self, generation: SequenceState, row: int) -> None:
        conversation = generation.ticket.request.conversation
        if conversation is None or not self._prefixes.wants(generation.filled):
            return
        try:
            kv = self._runner.copy_out(row, generation.filled)
        except torch.OutOfMemoryError:
            self._prefixes.clear()  # running requests come first
        else:
            self._prefixes.put(
                conversation, generation.kv_tokens, kv, adapter=generation.adapter_sha256
            )

    def _leave(self, row: int) -> None:
        """Free a row: the last one takes its place, and the entering one moves up."""
        self._vacate(self._rows[row], row)
        last = self._rows.pop()
        if row < len(self._rows):
            self._runner.move(len(self._rows), row, last.filled)
            self._rows[row] = last
        if self._entering is not None:
            self._runner.move(len(self._rows) + 1, len(self._rows), self._entering.filled)

    def _vacate(self, generation: SequenceState, row: int) -> None:
        if generation.poisoned:
            self._runner.blank(row)

    def _prefill(self) -> None:
        left = PREFILL_TOKENS
        while left > 0 and (generation := self._entering or self._admit()) is not None:
            chunk = generation.prompt[generation.filled : generation.filled + left]
            left -= len(chunk)
            try:
                self._runner.activate([generation.adapter])
                logits = self._runner.prefill(
                    len(self._rows), chunk, generation.filled, self._features(generation, chunk)
                )
            except FAULTS as error:
                self._entering = None
                self._decoding.fault(generation, error)
                self._vacate(generation, len(self._rows))
                continue
            generation.filled += len(chunk)
            self._tickets.record_progress()
            if generation.filled == len(generation.prompt):
                generation.pixels, generation.features = None, None
                if generation.choices:
                    self._score(generation, logits)
                    self._entering = None
                    continue
                self._entering = None
                self._rows.append(generation)
                self._decoding.first(generation, logits)
                generation.first_token = time.monotonic()

    def _features(self, generation: SequenceState, chunk: list[int]) -> Tensor | None:
        """Features of the images in this chunk of the prompt; None if it has none."""
        count = sum(token < 0 for token in chunk)
        if not count or generation.pixels is None:
            return None
        if generation.features is None:
            generation.features = self._runner.see(generation.pixels)
        start = sum(token < 0 for token in generation.prompt[: generation.filled])
        features: Tensor = generation.features[start : start + count]
        return features

    def _score(self, generation: SequenceState, logits: Tensor) -> None:
        """Settle a request with choices; it never joins the rows."""
        row = len(self._rows)
        generation.first_token = time.monotonic()
        try:
            generation.choose(
                score(self._runner, row, generation.filled, logits, generation.choices)
            )
        except FAULTS as error:
            self._decoding.fault(generation, error)
        except EngineError as error:
            self._tickets.fail(generation.ticket, error)
        else:
            self._complete(generation, row, time.monotonic())
        self._vacate(generation, row)

    def _admit(self) -> SequenceState | None:
        """The next waiting request, if there is room."""
        first = self._waiting.first()
        reaches = [generation.max_len for generation in self._rows]
        if first is None or not self._room.fits(reaches, first.max_len):
            return None
        try:
            if not self._adapted(first):
                return None
        except EngineError as error:
            self._tickets.fail(self._waiting.pop().ticket, error)
            return None
        # Entering first: an unexpected fault then fails it with the running ones.
        generation = self._entering = self._waiting.pop()
        generation.started = time.monotonic()
        need = CacheShape(rows=len(reaches) + 1, tokens=max([*reaches, generation.max_len]))
        try:
            self._runner.reserve(need, rows=len(reaches))
            self._reuse(generation)
        except FAULTS as error:
            self._entering = None
            self._decoding.fault(generation, error)
            return None
        return generation

    def _adapted(self, generation: SequenceState) -> bool:
        """Give it its adapter; False while there is no room for one more."""
        if generation.adapter_folder is not None:
            running = [row.adapter for row in self._rows if row.adapter is not None]
            generation.adapter = self._adapters.get(generation.adapter_folder, running)
            return generation.adapter is not None
        return True

    def _reuse(self, generation: SequenceState) -> None:
        """Start from the longest prefix in the prefix cache or in a running row."""
        adapter, target = generation.adapter_sha256, len(self._rows)
        match = self._prefixes.match(generation.prompt, adapter=adapter)
        length = match.length if match else MIN_SHARED - 1
        source = None
        for row, running in enumerate(self._rows):
            if running.adapter_sha256 != adapter:
                continue
            shared = shared_prefix(generation.prompt[:-1], running.kv_tokens)
            if shared > length:
                source, length = row, shared
        if source is not None:
            self._runner.move(source, target, length)
        elif match is not None:
            self._runner.copy_in(target, match.kv, length)
        else:
            return
        generation.filled = generation.cached = length

    def _decode(self) -> None:
        if any(row.finish_reason is not None or row.ticket.settled for row in self._rows):
            # A request ended or failed with its first token: close the gap first.
            self._sweep()
        rows = list(self._rows)
        if not rows:
            return
        self._decoding.step(rows)
