"""Drawing the next token of every row at once, each row by its own rules and its own dice."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from colm.models.messages import Sampling

#: Most of the probability lies on few tokens: sorting these first saves sorting the vocabulary.
_LIKELY = 256
#: Dividing logits by less would overflow; nothing but the likeliest token is left there anyway.
_COLD = 1e-5


@dataclass(frozen=True, kw_only=True)
class SampledToken:
    """A token, and the natural log of the probability that the model itself gave it."""

    token: int
    logprob: float


class RowSampler:
    """One request's way of drawing. With the same seed it draws the same, whatever else runs."""

    def __init__(self, sampling: Sampling) -> None:
        self.temperature = sampling.temperature
        self.top_p = sampling.top_p
        self._rng = random.Random(sampling.seed)

    @property
    def greedy(self) -> bool:
        return self.temperature < _COLD

    def random(self) -> float:
        """A number in [0, 1); one for each token."""
        return self._rng.random()


def sample(logits: Tensor, dice: Sequence[RowSampler]) -> list[SampledToken]:
    """The next token for each row of `logits`, shaped (rows, vocabulary).

    A row whose logits are not finite gets a logprob that is not finite either: check it.
    """
    logits = logits.float()
    tokens = logits.argmax(dim=-1)
    sampled = [row for row, die in enumerate(dice) if not die.greedy]
    if sampled:
        tokens[sampled] = _sample(logits[sampled], [dice[row] for row in sampled])
    logprobs = logits.gather(-1, tokens[:, None])[:, 0] - logits.logsumexp(dim=-1)
    return [
        SampledToken(token=token, logprob=logprob)
        for token, logprob in zip(tokens.tolist(), logprobs.tolist(), strict=True)
    ]


def _sample(logits: Tensor, dice: Sequence[RowSampler]) -> Tensor:
    device = logits.device
    warmth = torch.tensor([die.temperature for die in dice], device=device)
    # A row that is no number draws something: that it is none shows in its logprob.
    probabilities = (logits / warmth[:, None]).softmax(dim=-1).nan_to_num()
    throws = [die.random() for die in dice]
    # Doubles: in single precision the sum over a large vocabulary loses the unlikely tokens.
    sums = probabilities.double().cumsum(dim=-1)
    tokens = pick(sums, torch.tensor(throws, device=device, dtype=torch.double))
    for row, die in enumerate(dice):
        if die.top_p < 1.0:
            tokens[row] = _sample_nucleus(probabilities[row], die.top_p, throws[row])
    return tokens


def pick(sums: Tensor, throws: Tensor) -> Tensor:
    """The index at which each row of running sums passes its throw's share of the total."""
    targets = (throws * sums[:, -1])[:, None]
    return torch.searchsorted(sums, targets, right=True)[:, 0].clamp(max=sums.shape[-1] - 1)


def _sample_nucleus(probabilities: Tensor, top_p: float, throw: float) -> Tensor:
    """A draw from the fewest most likely tokens that together have at least `top_p`."""
    likely, tokens = probabilities.topk(min(_LIKELY, len(probabilities)))
    if float(likely.double().sum()) < top_p:
        likely, tokens = probabilities.sort(descending=True)
    sums = likely.double().cumsum(dim=-1)
    nucleus = sums[(sums - likely) < top_p]
    return tokens[pick(nucleus[None], nucleus.new_tensor([throw]))[0]]
