"""LoRA adapters over the linear layers of one model: each row of a batch has its own, or none.

y = W x + scale * B (A x) (Hu et al. 2021). The A of all adapters of a batch are one matrix, and so
are the B: two products serve every row, and the columns of other rows' adapters are set to zero in
between. For few adapters this is faster than to gather each row's A and B, or to group rows by
adapter (`python -m benchmarks.engine.adapters`). Layers that read one input (queries, keys and
values; gate and up) share the product with A.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

#: Sibling layers that read the same tensor.
_SIBLINGS = {
    **dict.fromkeys(("q_proj", "k_proj", "v_proj"), "attention"),
    **dict.fromkeys(("gate_proj", "up_proj"), "mlp"),
}


class SharedA:
    """A of all adapters of all layers that read one input; computed once for each input."""

    def __init__(self, a: Tensor, owners: tuple[int, ...], layers: int) -> None:
        #: (ranks, in).
        self.a = a
        #: The adapter of each rank, by its place in the stack.
        self.owners = owners
        self._hidden: Tensor | None = None
        self._layers = layers
        self._readers = 0
        self._input: Tensor | None = None
        self._low: Tensor | None = None

    def hide(self, hidden: Tensor | None) -> None:
        """`hidden`, (rows, 1, ranks): True where a rank is not of the row's adapter."""
        self._hidden, self._input, self._low = hidden, None, None

    def __call__(self, inputs: Tensor) -> Tensor:
        """(..., in) -> (tokens, ranks)."""
        low = self._low
        if low is None or inputs is not self._input:
            low = linear(inputs.to(self.a.dtype), self.a)
            if self._hidden is not None:
                low.masked_fill_(self._hidden, 0.0)
            low = low.view(-1, len(self.a))
            self._input, self._low, self._readers = inputs, low, self._layers
        self._readers -= 1
        if not self._readers:  # hold no activations until the next pass
            self._input = self._low = None
        return low


class LowRank(NamedTuple):
    """The product for one layer."""

    shared: SharedA
    #: The layer's own ranks.
    ranks: slice
    #: (own ranks, out): B transposed, with the scale in it.
    b: Tensor

    @property
    def a(self) -> Tensor:
        return self.shared.a[self.ranks]


class Factors(NamedTuple):
    """A (rank, in) and scaled B (rank, out) of one adapter, by its place in the stack."""

    owner: int
    a: Tensor
    b: Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Adapter:
    """The low-rank products of one version of an adapter, by the name of the layer."""

    sha256: str
    layers: Mapping[str, LowRank]


class _Stack(NamedTuple):
    """The products of several adapters at once."""

    adapters: tuple[Adapter, ...]
    layers: Mapping[str, LowRank]


def joined(factors: Mapping[str, Sequence[Factors]]) -> dict[str, LowRank]:
    """The products of layers whose factors these are."""
    siblings: dict[str, list[str]] = {}
    for name in factors:
        parent, _, own = name.rpartition(".")
        siblings.setdefault(f"{parent}.{_SIBLINGS.get(own, own)}", []).append(name)
    layers = {}
    for names in siblings.values():
        parts = [part for name in names for part in factors[name]]
        owners = tuple(part.owner for part in parts for _ in part.a)
        shared, start = SharedA(torch.cat([part.a for part in parts]), owners, len(names)), 0
        for name in names:
            stop = start + sum(len(part.a) for part in factors[name])
            b = torch.cat([part.b for part in factors[name]])
            layers[name] = LowRank(shared, slice(start, stop), b)
            start = stop
    return layers


class ActiveAdapters:
    """The adapters of the rows of the next forward passes. For one thread."""

    def __init__(self, model: nn.Module) -> None:
        self._modules = dict(model.named_modules())
        self._adapted: set[str] = set()
        self._products: Mapping[str, LowRank] = {}
        self._rows: tuple[Adapter | None, ...] = ()
        self._stack: _Stack | None = None

    def activate(self, rows: Sequence[Adapter | None]) -> None:
        """Row i of the next passes gets the product of `rows[i]`."""
        if tuple(rows) == self._rows:
            return
        self._rows = tuple(rows)
        adapters = tuple(dict.fromkeys(adapter for adapter in rows if adapter is not None))
        for adapter in adapters:
            self._adapt(adapter.layers)
        if not adapters:
            self._products = {}
        elif len(adapters) == 1 and None not in rows:
            self._products = adapters[0].layers
        else:
            stack = self._stack_of(adapters)
            self._mask(stack)
            self._products = stack.layers

    def clear(self) -> None:
        """Keep no adapter's tensors."""
        self._products, self._rows, self._stack = {}, (), None

    def _adapt(self, names: Mapping[str, Any]) -> None:
        for name in names.keys() - self._adapted:
            self._modules[name].register_forward_hook(self._hook(name))
            self._adapted.add(name)

    def _hook(self, name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def add(_module: nn.Module, inputs: Any, output: Tensor) -> None:
            if (product := self._products.get(name)) is None:
                return
            low = product.shared(inputs[0])[:, product.ranks]
            rows = output.view(-1, output.shape[-1])
            if low.dtype == rows.dtype:
                rows.addmm_(low, product.b)
            else:
                rows.add_(low @ product.b)

        return add

    def _stack_of(self, adapters: tuple[Adapter, ...]) -> _Stack:
        """The present stack as long as it has all of `adapters` and not more than twice as many."""
        stack = self._stack
        if stack is None or not (
            set(adapters) <= set(stack.adapters) and len(stack.adapters) <= 2 * len(adapters)
        ):
            self._stack = None  # first: both need not fit
            self._stack = stack = _stacked(adapters)
        return stack

    def _mask(self, stack: _Stack) -> None:
        places = {id(adapter): place for place, adapter in enumerate(stack.adapters)}
        own = torch.tensor([places.get(id(adapter), -1) for adapter in self._rows])
        masks: dict[tuple[int, ...], Tensor] = {}
        for low in stack.layers.values():
            owners = low.shared.owners
            if owners not in masks:
                hidden = torch.tensor(owners)[None] != own[:, None]
                masks[owners] = hidden[:, None].to(low.b.device)
            low.shared.hide(masks[owners])


def _stacked(adapters: tuple[Adapter, ...]) -> _Stack:
    factors: dict[str, list[Factors]] = {}
    for owner, adapter in enumerate(adapters):
        for name, low in adapter.layers.items():
            factors.setdefault(name, []).append(Factors(owner, low.a, low.b))
    return _Stack(adapters, joined(factors))


@torch.no_grad()
def merge(model: nn.Module, adapter: Adapter) -> None:
    """Add the products to the weights themselves."""
    for name, low in adapter.layers.items():
        weight = model.get_submodule(name).weight
        assert isinstance(weight, Tensor)
        weight.add_((low.b.float().T @ low.a.float()).to(weight))
