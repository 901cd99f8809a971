"""Each request's own way of drawing, inside transformers' continuous batching manager.

The manager knows one way of sampling and one seed for all. So we draw where it lets logits be
processed, and hand it logits of which the drawn token is the largest: its own choice, the argmax,
is then ours. All of it is tensor arithmetic without a look at the values on the GPU, so that it
may be captured into a CUDA graph.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessorList
from transformers.generation.continuous_batching.cb_logits_processors import (
    ContinuousBatchingLogitsProcessorList,
)

from colm.models.engines.native.sampler import pick
from colm.models.engines.native.sequence import SequenceState

#: A request that draws nothing takes the likeliest token.
_GREEDY = (1.0, 1.0, -1.0)


@dataclass(kw_only=True, eq=False)
class Seat:
    """A request in the manager's batch, and what is seen of it there."""

    generation: SequenceState
    #: Prompt tokens that were computed for it; the others were found in the cache.
    computed: int = 0
    prefilled: bool = False

    def numbers(self) -> tuple[float, float, float]:
        """Temperature, top_p and the throw for its next token."""
        dice = self.generation.dice
        return _GREEDY if dice.greedy else (dice.temperature, dice.top_p, dice.random())


class Drawing(ContinuousBatchingLogitsProcessorList):
    """Stands in the place of the manager's own logits processors.

    `seats` maps the manager's request ids; `count_step` is told the size of every batch.
    """

    def __init__(self, seats: dict[str, Seat], count_step: Callable[[int], None]) -> None:
        super().__init__(LogitsProcessorList())
        self._seats = seats
        self._count_step = count_step
        self.tensors_required = len(_GREEDY)
        self.do_processing = True

    def fill_defaults(self, int32_tensor: Tensor) -> None:
        int32_tensor.copy_(_as_ints([_GREEDY]).expand_as(int32_tensor))

    def prepare_tensor_args(self, requests_in_batch: Sequence[Any], arg_storage: Tensor) -> Tensor:
        """Called once for every batch, on the manager's thread, before its forward pass."""
        numbers, known_rows = [], 0
        for future in requests_in_batch:
            seat = self._seats.get(future.state.request_id)
            if seat is not None:
                known_rows += 1
                self._look(seat, future, len(requests_in_batch))
            if future.has_new_token:
                numbers.append(_GREEDY if seat is None else seat.numbers())
        if numbers:
            arg_storage[:, : len(numbers)] = _as_ints(numbers).to(arg_storage.device)
        if known_rows:
            self._count_step(known_rows)
        return arg_storage

    def __call__(self, _input_ids: Tensor, scores: Tensor, logits_processor_args: Tensor) -> Tensor:
        numbers = logits_processor_args[:, : scores.shape[0]].contiguous().view(torch.float32)
        return forced(scores, draw_rows(scores, *numbers))

    def _look(self, seat: Seat, future: Any, size: int) -> None:
        seat.generation.batch_size = max(seat.generation.batch_size, size)
        if not seat.prefilled:
            seat.computed += future.query_length
            seat.prefilled = future.has_new_token


def draw_rows(scores: Tensor, warmth: Tensor, top_p: Tensor, throws: Tensor) -> Tensor:
    """A token for each row of logits; the likeliest where the throw is negative."""
    tokens = scores.argmax(dim=-1)
    blind = scores.is_cuda  # to look at a value would wait for the GPU, and break its graph
    if not blind and bool((throws < 0).all()):
        return tokens
    probabilities = (scores / warmth[:, None]).softmax(dim=-1).nan_to_num()
    drawn = pick(probabilities.double().cumsum(dim=-1), throws.double())
    if blind or bool((top_p < 1).any()):
        drawn = torch.where(top_p < 1, _nucleus(probabilities, top_p, throws), drawn)
    return torch.where(throws < 0, tokens, drawn)


def _nucleus(probabilities: Tensor, top_p: Tensor, throws: Tensor) -> Tensor:
    """A draw from the fewest most likely tokens that together have at least `top_p`."""
    likely, order = probabilities.sort(dim=-1, descending=True)
    sums = likely.double().cumsum(dim=-1)
    inside = (sums - likely) < top_p[:, None]
    weights = torch.where(inside, likely.double(), 0.0).cumsum(dim=-1)
    places = pick(weights, throws.double())
    return order.gather(-1, torch.minimum(places, inside.sum(dim=-1) - 1)[:, None])[:, 0]


def forced(scores: Tensor, tokens: Tensor) -> Tensor:
    """Logits of which `tokens` are the largest, and have the probability that `scores` give them.

    The manager returns the log-probability of what it chose. One of less than 2 / vocabulary comes
    out as that.
    """
    size = scores.shape[-1]
    logprob = scores.gather(-1, tokens[:, None]) - scores.logsumexp(dim=-1, keepdim=True)
    share = logprob.exp().clamp(min=2 / size, max=1.0)
    others = ((1 - share) / (size - 1)).log()
    return others.expand(-1, size).scatter(-1, tokens[:, None], share.log())


def _as_ints(numbers: Sequence[tuple[float, ...]]) -> Tensor:
    """One column a request, its floats as the integers of the same bits."""
    return torch.tensor(numbers, dtype=torch.float32).T.contiguous().view(torch.int32)
