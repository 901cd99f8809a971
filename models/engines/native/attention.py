"""Attention over rows of different length: each row's queries stand at positions of their own.

Registered with transformers under the name `SLOTS`. A model builds its masks through the pattern
that it brings along (causal, sliding window, chunked), and we only lay that pattern over the rows'
own positions. So the window of Gemma or Mistral is honoured without a word about it here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface

#: The name to give to `model.set_attn_implementation`.
SLOTS = "colm_slots"

#: What a model may pass to change the scores, and this attention does not do.
_UNSUPPORTED = ("s_aux", "position_bias", "cache")


def slot_mask(
    batch_size: int,
    q_length: int,
    kv_length: int,
    q_offset: Tensor | int = 0,
    kv_offset: int = 0,
    mask_function: Callable[..., Tensor] | None = None,
    device: torch.device | str = "cpu",
    **options: Any,
) -> Tensor:
    """A boolean mask (rows, 1, queries, keys), True where a query sees a key.

    `q_offset` has the position of each row's first query, as `KVCache.get_query_offset` gives it.
    """
    if mask_function is None or options.get("use_vmap"):
        raise NotImplementedError("the model masks attention in a way of its own")
    rows = torch.arange(batch_size, device=device).view(-1, 1, 1, 1)
    heads = torch.zeros(1, 1, 1, 1, dtype=torch.long, device=device)
    queries = torch.arange(q_length, device=device).view(1, 1, -1, 1)
    queries = queries + torch.as_tensor(q_offset, device=device).view(-1, 1, 1, 1)
    keys = torch.arange(kv_length, device=device).view(1, 1, 1, -1) + kv_offset
    mask: Tensor = mask_function(rows, heads, queries, keys)
    return mask.expand(batch_size, 1, q_length, kv_length)


def slot_attention(
    module: nn.Module,  # noqa: ARG001 - the interface's first argument
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    softcap: float | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Attention without copying the cache: the query heads that share a key head become queries."""
    if any(options.get(name) is not None for name in _UNSUPPORTED):
        raise NotImplementedError("the model changes attention scores in a way of its own")
    rows, heads, queries, width = query.shape
    shared = heads // key.shape[1]
    packed = query.reshape(rows, key.shape[1], shared * queries, width)
    if attention_mask is not None and queries > 1:
        attention_mask = attention_mask.repeat(1, 1, shared, 1)
    if softcap is None:
        out = scaled_dot_product_attention(packed, key, value, attention_mask, scale=scaling)
    else:
        out = _capped_attention(packed, key, value, attention_mask, scaling, softcap)
    return out.reshape(rows, heads, queries, value.shape[-1]).transpose(1, 2).contiguous(), None


def _capped_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    scaling: float | None,
    softcap: float,
) -> Tensor:
    """Attention whose scores are squeezed into (-softcap, softcap), as Gemma 2 does."""
    scores = query @ key.transpose(2, 3) * (scaling or query.shape[-1] ** -0.5)
    scores = torch.tanh(scores / softcap) * softcap
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    return scores.softmax(dim=-1, dtype=torch.float32).to(query.dtype) @ value


AttentionInterface.register(SLOTS, slot_attention)
AttentionMaskInterface.register(SLOTS, slot_mask)
