"""How likely given continuations of a prompt are, instead of a draw: one pass for each of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from colm.models.engines.native.model_runner import Runner


def score(
    runner: Runner, row: int, filled: int, logits: Tensor, choices: Sequence[Sequence[int]]
) -> list[float]:
    """The natural log of each choice's likelihood, summed over its tokens.

    `logits`, (1, V), are those after the prompt, whose `filled` tokens the row holds. Each choice
    writes over the one before; the row's prompt stays as it is.
    """
    first = logits.float().log_softmax(dim=-1)[0]
    return [float(first[tokens[0]]) + _rest(runner, row, filled, tokens) for tokens in choices]


def _rest(runner: Runner, row: int, filled: int, tokens: Sequence[int]) -> float:
    if len(tokens) == 1:
        return 0.0
    logits = runner.decode([list(tokens[:-1])], [filled], first=row)[0]
    following = torch.tensor(tokens[1:], device=logits.device)[:, None]
    return float(logits.float().log_softmax(dim=-1).gather(-1, following).sum())
