"""The recipe of a tuning and what follows from it: batches, learning rates, memory. Pure.

LoRA (Hu et al. 2021, arXiv 2106.09685) on the upper layers only: the frozen lower layers run once
per example, and their output is cached. Optimizer: AdamW (Loshchilov and Hutter 2019).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import lru_cache

from pydantic import Field

from colm.models.messages import Message

#: Bytes of one trained weight beside the model's own copy: float32 master, gradient, two moments,
#: and the best version so far.
BYTES_PER_TRAINED_WEIGHT = 5 * 4
#: Activations that one layer keeps for the backward pass, in hidden states per token: attention
#: and feed-forward inputs and outputs, and their low-rank products.
STATES_PER_LAYER = 16


class Recipe(Message):
    """The settings of a tuning. The defaults fit models of 135M to 1.5B parameters."""

    #: Rank of the low-rank products, and their scale (alpha / rank).
    rank: int = Field(default=16, ge=1, le=256)
    alpha: int = Field(default=32, ge=1, le=1_024)
    #: Linear layers that get an adapter, by the last part of their names.
    targets: tuple[str, ...] = (
        "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj",
    )  # fmt: skip
    #: Share of the layers, from the lowest up, that get no adapter.
    frozen_share: float = Field(default=0.5, ge=0.0, lt=1.0)
    batch_size: int = Field(default=8, ge=1, le=1_024)
    learning_rate: float = Field(default=2e-3, gt=0.0, le=1.0)
    warmup_steps: int = Field(default=8, ge=0)
    max_steps: int = Field(default=130, ge=1, le=1_000_000)
    #: Examples with more tokens, prompt and answer together, are left out.
    max_tokens: int = Field(default=512, ge=8)
    #: Share of the examples that are held back to measure the loss, and how often (steps).
    held_back_share: float = Field(default=0.1, ge=0.0, le=0.5)
    evaluate_every: int = Field(default=20, ge=1)
    #: Evaluations without a lower loss after which the tuning stops.
    patience: int = Field(default=3, ge=1)
    max_gradient_norm: float = Field(default=1.0, gt=0.0)
    seed: int = Field(default=0, ge=0)


def learning_rate(recipe: Recipe, step: int) -> float:
    """The learning rate of `step`, from 0: warm-up, flat to half time, then linear to 5 %."""
    warm = min(1.0, (step + 1) / recipe.warmup_steps) if recipe.warmup_steps else 1.0
    done = step / recipe.max_steps
    return recipe.learning_rate * warm * (1.0 if done < 0.5 else max(0.05, 2 * (1 - done)))


def split(count: int, recipe: Recipe) -> tuple[list[int], list[int]]:
    """The numbers of the examples to train on, and of those held back; both by the seed alone."""
    order = list(range(count))
    random.Random(f"{recipe.seed}:held back").shuffle(order)
    held_back = int(count * recipe.held_back_share)
    return sorted(order[held_back:]), sorted(order[:held_back])


def batch(numbers: Sequence[int], recipe: Recipe, step: int) -> list[int]:
    """The examples of `step`. Every epoch has an order of its own, so a step needs no state."""
    size = min(recipe.batch_size, len(numbers))
    positions = (divmod(step * size + offset, len(numbers)) for offset in range(size))
    return [numbers[_order(len(numbers), recipe.seed, epoch)[place]] for epoch, place in positions]


@lru_cache(maxsize=4)
def _order(count: int, seed: int, epoch: int) -> tuple[int, ...]:
    order = list(range(count))
    random.Random(f"{seed}:{epoch}").shuffle(order)
    return tuple(order)


def memory_needed(
    recipe: Recipe,
    *,
    model_bytes: int,
    trained_weights: int,
    cached_tokens: int,
    longest: int,
    hidden_size: int,
    tuned_layers: int,
    vocabulary: int,
    bytes_per_value: int,
) -> int:
    """An upper estimate of the memory of a tuning (bytes).

    The model, the trained weights with their optimizer state, the cached output of the lower
    layers (`cached_tokens` hidden states), and the activations and logits of one batch of the
    `longest` example (tokens).
    """
    batch_tokens = recipe.batch_size * longest
    activations = batch_tokens * hidden_size * STATES_PER_LAYER * tuned_layers * bytes_per_value
    logits = batch_tokens * vocabulary * 4 * 2
    cache = cached_tokens * hidden_size * bytes_per_value
    return model_bytes + trained_weights * BYTES_PER_TRAINED_WEIGHT + activations + logits + cache
