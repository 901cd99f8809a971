"""Draws follow the distribution that the request asks for, each row its own."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from colm.models.engines.native.sampler import RowSampler, sample
from colm.models.messages import Sampling

LOGITS = torch.tensor([2.0, 1.0, 0.0, -1.0, -9.0])
P = LOGITS.softmax(-1).tolist()


def dice(temperature: float, top_p: float = 1.0, seed: int | None = 3) -> RowSampler:
    return RowSampler(Sampling(temperature=temperature, top_p=top_p, seed=seed))


def counted(die: RowSampler, throws: int = 4000) -> Counter[int]:
    return Counter(sample(LOGITS[None], [die])[0].token for _ in range(throws))


@pytest.mark.parametrize("temperature", [0.0, 1e-30])
def test_without_heat_the_likeliest_token_is_drawn(temperature: float) -> None:
    drawn = sample(LOGITS[None], [dice(temperature)])[0]

    assert drawn.token == 0
    assert drawn.logprob == pytest.approx(math.log(P[0]))


def test_tokens_come_as_often_as_the_model_says() -> None:
    found = counted(dice(1.0))

    for token, probability in enumerate(P):
        assert found[token] / 4000 == pytest.approx(probability, abs=0.03)


def test_heat_makes_the_unlikely_likelier() -> None:
    hot = (LOGITS / 2.5).softmax(-1)
    found = counted(dice(2.5))

    assert found[3] / 4000 == pytest.approx(float(hot[3]), abs=0.03)


def test_top_p_leaves_the_fewest_tokens_that_reach_it() -> None:
    assert P[0] < 0.7 < P[0] + P[1]

    found = counted(dice(1.0, top_p=0.7))

    assert set(found) == {0, 1}
    assert found[0] / 4000 == pytest.approx(P[0] / (P[0] + P[1]), abs=0.03)


def test_a_nucleus_wider_than_the_likely_tokens_is_found_whole() -> None:
    flat = torch.zeros(1, 5000)

    found = {sample(flat, [die])[0].token for die in [dice(1.0, top_p=0.9)] for _ in range(2000)}

    assert len(found) > 1000


@settings(max_examples=40, deadline=None)
@given(st.permutations(range(4)), st.integers(0, 2**63 - 1))
def test_a_row_draws_the_same_wherever_it_stands(order: list[int], seed: int) -> None:
    logits = torch.randn(4, 50, generator=torch.Generator().manual_seed(1)) * 3
    rules = [(0.0, 1.0), (0.7, 1.0), (1.3, 0.8), (1.3, 0.5)]

    alone = [sample(logits[r : r + 1], [dice(*rules[r], seed=seed)])[0] for r in range(4)]
    together = sample(logits[order], [dice(*rules[r], seed=seed) for r in order])

    assert [drawn.token for drawn in together] == [alone[r].token for r in order]


def test_a_row_that_is_no_number_is_marked_and_spoils_no_other() -> None:
    logits = torch.stack([LOGITS, torch.full((5,), float("nan")), LOGITS])

    drawn = sample(logits, [dice(0.0), dice(1.0, top_p=0.5), dice(0.0)])

    assert not math.isfinite(drawn[1].logprob)
    assert drawn[0] == drawn[2]
    assert drawn[0].token == 0
