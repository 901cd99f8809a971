"""One step of the running rows: a forward pass, and the tokens that are drawn from it.

Where a row's next tokens can be guessed (`lookup`), the pass goes over the guesses too. Each token
is drawn as if there were none, by its own throw of the dice; a guess that equals it has its
successor computed already. So guessing changes how long a completion takes, and not what it says.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from colm.models.engines.native.model_runner import Runner
from colm.models.engines.native.sampler import sample
from colm.models.engines.native.sequence import SequenceState
from colm.models.engines.pending import PendingRequests
from colm.models.errors import EngineError

#: What a forward pass may raise for the sake of one request.
FAULTS = (RuntimeError, ValueError, LookupError, MemoryError)
#: Tokens of all rows together up to which a longer pass costs little.
CHEAP_TOKENS = 40


class DeviceLost(Exception):
    """The device answers every further operation with an error."""


@dataclass(frozen=True, kw_only=True)
class _Stepped:
    """Adjacent rows that went through one forward pass, and the logits for each of its tokens."""

    rows: Sequence[SequenceState]
    guesses: Sequence[Sequence[int]]
    logits: Tensor


class Decoding:
    """Steps rows of `runner`, and fails the tickets of those that cannot be stepped."""

    def __init__(
        self, runner: Runner, tickets: PendingRequests, *, num_speculative_tokens: int
    ) -> None:
        self._runner = runner
        self._tickets = tickets
        self._guess_tokens = num_speculative_tokens

    def step(self, rows: Sequence[SequenceState]) -> None:
        """At least one more token for each row. Raises DeviceLost."""
        self._tickets.count_step(len(rows))
        for stepped in self._forward(rows, self._guesses(rows), 0):
            for generation in stepped.rows:
                generation.batch_size = max(generation.batch_size, len(rows))
            self._take(stepped)

    def first(self, generation: SequenceState, logits: Tensor) -> None:
        """The first token, from the logits after the prompt."""
        self._draw([generation], logits)

    def fault(self, generation: SequenceState, error: Exception) -> None:
        if isinstance(error, torch.AcceleratorError):
            raise DeviceLost(str(error)) from error
        generation.poisoned = True
        self._tickets.fail(generation.ticket, EngineError(f"the model failed: {error}"))

    def _guesses(self, rows: Sequence[SequenceState]) -> list[list[int]]:
        longest = max(row.filled for row in rows)
        most = min(
            self._guess_tokens, CHEAP_TOKENS // len(rows) - 1, self._runner.tokens - longest - 1
        )
        return [row.guess(most) for row in rows]

    def _forward(
        self, rows: Sequence[SequenceState], guesses: Sequence[Sequence[int]], first: int
    ) -> Iterator[_Stepped]:
        """The logits of `rows`; where they cannot be had together, of each row that can alone.

        To try again is safe: a pass writes what the one before it wrote, to the same places.
        """
        width = max(map(len, guesses))
        tokens = [
            [row.drawn[-1], *guess, *[0] * (width - len(guess))]
            for row, guess in zip(rows, guesses, strict=True)
        ]
        try:
            self._runner.activate([row.adapter for row in rows])
            logits = self._runner.decode(tokens, [row.filled for row in rows], first=first)
        except FAULTS as error:
            if len(rows) == 1 and not width:
                self.fault(rows[0], error)
                return
            for offset, row in enumerate(rows):
                yield from self._forward([row], [[]], first + offset)
        else:
            yield _Stepped(rows=rows, guesses=guesses, logits=logits)

    def _take(self, stepped: _Stepped) -> None:
        """Draw on, token by token, as long as the guesses come true."""
        rows, right = stepped.rows, [0] * len(stepped.rows)
        going = list(range(len(rows)))
        for place in range(stepped.logits.shape[1]):
            for row in going:
                rows[row].filled += 1
            self._draw([rows[row] for row in going], stepped.logits[going, place])
            going = [
                row
                for row in going
                if _came_true(rows[row], stepped.guesses[row][place : place + 1])
            ]
            for row in going:
                right[row] += 1
            if not going:
                break
        for generation, guess, count in zip(rows, stepped.guesses, right, strict=True):
            if guess:
                generation.judge(len(guess), count)
                self._tickets.count_guesses(len(guess), count)

    def _draw(self, rows: Sequence[SequenceState], logits: Tensor) -> None:
        for generation, drawn in zip(rows, sample(logits, [r.dice for r in rows]), strict=True):
            try:
                generation.append(drawn)
            except EngineError as error:
                self._tickets.fail(generation.ticket, error)


def _came_true(generation: SequenceState, guess: Sequence[int]) -> bool:
    goes_on = generation.finish_reason is None and not generation.poisoned
    return goes_on and list(guess) == generation.drawn[-1:]
