"""The rectangle of the KV cache grows as needed, and never over its budget."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from colm.models.engines.native.kv_cache import STRIDE, CacheShape, KVCache, WriteTarget, grown

MOST = 32 * STRIDE
shapes = st.builds(CacheShape, rows=st.integers(1, 40), tokens=st.integers(1, 8 * STRIDE)).filter(
    lambda shape: shape.rows * shape.tokens <= MOST
)


@given(have=shapes, need=shapes)
def test_a_grown_rectangle_holds_what_is_needed_within_the_budget(
    have: CacheShape, need: CacheShape
) -> None:
    shape = grown(have, need, MOST)

    assert shape.rows >= need.rows
    assert shape.tokens >= need.tokens
    assert shape.rows * shape.tokens <= MOST


@given(have=shapes, need=shapes)
def test_a_rectangle_that_is_large_enough_is_left_alone(have: CacheShape, need: CacheShape) -> None:
    shape = grown(have, need, MOST)

    assert grown(shape, need, MOST) == shape


def _filled(cache: KVCache, rows: int, tokens: int) -> torch.Tensor:
    states = torch.randn(rows, 2, tokens, 4)
    for row in range(rows):
        cache.aim = WriteTarget(
            first=row,
            rows=1,
            queries=tokens,
            index=torch.tensor([row]),
            starts=torch.tensor([0]),
            reach=tokens,
            start=0,
        )
        cache.update(states[row : row + 1], states[row : row + 1], 0)
    return states


def test_rows_keep_what_they_hold_when_the_rectangle_grows_or_changes_its_form() -> None:
    cache = KVCache(1, MOST)
    cache.reserve(CacheShape(rows=3, tokens=100), rows=0)
    states = _filled(cache, 3, 100)

    for need in (CacheShape(rows=30, tokens=200), CacheShape(rows=3, tokens=10 * STRIDE)):
        cache.reserve(need, rows=3)
        for row in range(3):
            ((keys, _),) = cache.copy_out(row, 100).layers
            assert torch.equal(keys, states[row])


def test_a_row_may_be_copied_out_and_into_another() -> None:
    cache = KVCache(1, MOST)
    cache.reserve(CacheShape(rows=2, tokens=50), rows=0)
    states = _filled(cache, 2, 50)

    kept = cache.copy_out(0, 40)
    cache.blank(0)
    cache.copy_in(1, kept, 30)

    ((keys, values),) = cache.copy_out(1, 50).layers
    assert torch.equal(keys[:, :30], states[0, :, :30])
    assert torch.equal(values[:, 30:], states[1, :, 30:])
    assert not cache.copy_out(0, 50).layers[0][0].any()
