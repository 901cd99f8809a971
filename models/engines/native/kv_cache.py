"""The KV cache: a rectangle of rows by tokens for each layer, one row for each running request.

A forward pass reads and writes the rows from `first` on, as views: nothing is gathered and nothing
padded but the tail of the shorter rows, which the mask hides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

#: The rectangle grows by so many tokens at a time.
STRIDE = 256

_NOWHERE = torch.empty(0, dtype=torch.long)


@dataclass(frozen=True, kw_only=True)
class CacheShape:
    """The size of the rectangle."""

    rows: int
    tokens: int


@dataclass(frozen=True, kw_only=True)
class WriteTarget:
    """Where the next forward pass writes: `queries` tokens into each of some adjacent rows."""

    first: int
    rows: int
    queries: int
    #: The rows' indices, and the position of each one's first new token: tensors on the device.
    index: Tensor
    starts: Tensor
    #: The longest row after the pass, in tokens.
    reach: int
    #: Position of the new tokens where there is one row (a slice is cheaper than an index).
    start: int


@dataclass(frozen=True, kw_only=True, eq=False)
class RowKV:
    """The first tokens of one row, copied out: for each layer (heads, tokens, width), twice."""

    layers: tuple[tuple[Tensor, Tensor], ...]


def grown(have: CacheShape, need: CacheShape, most: int) -> CacheShape:
    """A rectangle for `need` of at most `most` tokens; with room to spare where there is some.

    To grow is to copy: rows double, and what `have` had is kept as long as both fit.
    """
    if need.rows <= have.rows and need.tokens <= have.tokens:
        return have
    tokens = -(-need.tokens // STRIDE) * STRIDE
    doubled = max(have.rows, 1 << (need.rows - 1).bit_length())
    for rows, length in (
        (doubled, max(have.tokens, tokens)),
        (max(have.rows, need.rows), max(have.tokens, tokens)),
        (doubled, tokens),
        (need.rows, max(have.tokens, tokens)),
        (need.rows, tokens),
    ):
        if rows * length <= most:
            return CacheShape(rows=rows, tokens=length)
    return need


class SlotLayer(CacheLayerMixin):  # type: ignore[no-untyped-call] # transformers is untyped
    """One layer's keys and values. A sliding layer keeps all tokens too: its mask forgets them."""

    is_sliding = False
    is_compileable = False
    is_croppable = False

    def __init__(self, owner: KVCache) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # transformers is untyped
        self._owner = owner

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        shape = self._owner.shape
        # Zeros, not empty: what the mask hides is still multiplied, and garbage may be NaN.
        self.keys = _blank(key_states, shape)
        self.values = _blank(value_states, shape)
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any
    ) -> tuple[Tensor, Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        aim = self._owner.aim
        return (
            _written(self._held(self.keys), key_states, aim),
            _written(self._held(self.values), value_states, aim),
        )

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:  # noqa: ARG002 - transformers passes it
        return self._owner.aim.reach, 0

    def get_seq_length(self) -> int:
        aim = self._owner.aim
        return aim.reach - aim.queries

    def get_max_length(self) -> int:
        return -1

    def resize(self, shape: CacheShape, rows: int) -> None:
        """Reallocate, keeping the first `rows` rows."""
        if not self.is_initialized:
            return
        for name in ("keys", "values"):
            old = self._held(getattr(self, name))
            new = old.new_zeros(shape.rows, old.shape[1], shape.tokens, old.shape[3])
            tokens = min(old.shape[2], shape.tokens)
            new[:rows, :, :tokens] = old[:rows, :, :tokens]
            setattr(self, name, new)

    def held(self) -> tuple[Tensor, Tensor]:
        return self._held(self.keys), self._held(self.values)

    @staticmethod
    def _held(tensor: Tensor | None) -> Tensor:
        assert tensor is not None
        return tensor


class KVCache(Cache):
    """Slots of keys and values, given to the model as `past_key_values`. For one thread."""

    def __init__(self, layers: int, most_tokens: int) -> None:
        self.shape = CacheShape(rows=1, tokens=min(STRIDE, most_tokens))
        self.aim = WriteTarget(
            first=0, rows=0, queries=0, index=_NOWHERE, starts=_NOWHERE, reach=0, start=0
        )
        self._most_tokens = most_tokens
        super().__init__(layers=[SlotLayer(self) for _ in range(layers)])

    def get_query_offset(self, layer_idx: int = 0) -> Any:  # noqa: ARG002 - transformers passes it
        """Not one number, as transformers has it, but one for each row; `slot_mask` expects it."""
        return self.aim.starts

    def reserve(self, need: CacheShape, *, rows: int) -> None:
        """Make room for `need`, keeping what the first `rows` rows hold."""
        shape = grown(self.shape, need, self._most_tokens)
        if shape == self.shape:
            return
        # Should memory run out half-way, this much is there in every layer.
        self.shape = CacheShape(
            rows=min(shape.rows, self.shape.rows), tokens=min(shape.tokens, self.shape.tokens)
        )
        for layer in self._layers():
            layer.resize(shape, rows)
        self.shape = shape

    def move(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` tokens of a row over another."""
        for tensor in self._tensors():
            tensor[target, :, :length] = tensor[source, :, :length]

    def copy_out(self, row: int, length: int) -> RowKV:
        return RowKV(
            layers=tuple(
                (keys[row, :, :length].clone(), values[row, :, :length].clone())
                for keys, values in (layer.held() for layer in self._layers())
            )
        )

    def copy_in(self, row: int, kv: RowKV, length: int) -> None:
        for layer, pair in zip(self._layers(), kv.layers, strict=True):
            for held, saved in zip(layer.held(), pair, strict=True):
                held[row, :, :length] = saved[:, :length]

    def blank(self, row: int) -> None:
        """Forget what a row holds. Needed where it may be NaN, which a mask does not stop."""
        for tensor in self._tensors():
            tensor[row].zero_()

    def release(self) -> None:
        for layer in self._layers():
            layer.keys = layer.values = None
            layer.is_initialized = False

    def _layers(self) -> list[SlotLayer]:
        return [layer for layer in self.layers if isinstance(layer, SlotLayer)]

    def _tensors(self) -> list[Tensor]:
        layers = [layer for layer in self._layers() if layer.is_initialized]
        return [tensor for layer in layers for tensor in layer.held()]


def _blank(states: Tensor, shape: CacheShape) -> Tensor:
    return states.new_zeros(shape.rows, states.shape[1], shape.tokens, states.shape[3])


def _written(held: Tensor, new: Tensor, aim: WriteTarget) -> Tensor:
    """Write `new` where `aim` says, and return the rows that attention reads, as a view."""
    rows = slice(aim.first, aim.first + aim.rows)
    if aim.rows == 1:
        held[aim.first, :, aim.start : aim.start + aim.queries] = new[0]
    else:
        places = aim.starts[:, None] + torch.arange(aim.queries, device=new.device)
        held[aim.index[:, None], :, places] = new.transpose(1, 2)
    return held[rows, :, : aim.reach]
