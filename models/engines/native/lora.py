"""LoRA adapters over the linear layers of one model: each row of a batch has its own, or none.

y = W x + scale * B (A x) (Hu et al. 2021). The A of all adapters of a batch are one matrix, and so
are the B: two products serve every row, and the columns of other rows' adapters are set to zero in
between. For few adapters this is faster than to gather each row's A and B, or to group rows by
adapter (`python -m benchmarks.engine_adapters`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import linear


class LowRank(NamedTuple):
    """The product for one layer."""

    #: (ranks, in): A of every adapter.
    a: Tensor
    #: (ranks, out): B transposed, with the scale in it.
    b: Tensor
    #: (rows, 1, ranks), True where a column is not of the row's adapter; None: all are.
    hidden: Tensor | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Adapter:
    """The low-rank products of one version of an adapter, by the name of the layer."""

    sha256: str
    layers: Mapping[str, LowRank]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Stack:
    """Several adapters, their A and B one after another."""

    adapters: tuple[Adapter, ...]
    layers: Mapping[str, LowRank]
    #: For each layer the ranks of the adapters, 0 where an adapter leaves it as it is.
    ranks: Mapping[str, tuple[int, ...]]


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
            self._products = self._masked(self._stack_of(adapters))

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
            low = linear(inputs[0], product.a)
            if product.hidden is not None:
                low.masked_fill_(product.hidden, 0.0)
            output.view(-1, output.shape[-1]).addmm_(low.view(-1, low.shape[-1]), product.b)

        return add

    def _stack_of(self, adapters: tuple[Adapter, ...]) -> _Stack:
        """The present stack as long as it has all of `adapters` and not twice as many."""
        stack = self._stack
        if stack is None or not (
            set(adapters) <= set(stack.adapters) and len(stack.adapters) <= 2 * len(adapters)
        ):
            self._stack = None  # first: both need not fit
            self._stack = stack = _stacked(adapters)
        return stack

    def _masked(self, stack: _Stack) -> Mapping[str, LowRank]:
        masks: dict[tuple[int, ...], Tensor] = {}
        products = {}
        for name, low in stack.layers.items():
            ranks = stack.ranks[name]
            if ranks not in masks:
                masks[ranks] = self._mask(stack.adapters, ranks).to(low.a.device)
            products[name] = low._replace(hidden=masks[ranks])
        return products

    def _mask(self, adapters: Sequence[Adapter], ranks: Sequence[int]) -> Tensor:
        owners = torch.arange(len(adapters)).repeat_interleave(torch.tensor(ranks))
        places = {id(adapter): place for place, adapter in enumerate(adapters)}
        own = torch.tensor([places.get(id(adapter), -1) for adapter in self._rows])
        return (owners[None] != own[:, None])[:, None]


def _stacked(adapters: tuple[Adapter, ...]) -> _Stack:
    layers, ranks = {}, {}
    for name in dict.fromkeys(name for adapter in adapters for name in adapter.layers):
        parts = [adapter.layers.get(name) for adapter in adapters]
        ranks[name] = tuple(0 if part is None else len(part.a) for part in parts)
        present = [part for part in parts if part is not None]
        layers[name] = LowRank(
            torch.cat([part.a for part in present]), torch.cat([part.b for part in present])
        )
    return _Stack(adapters=adapters, layers=layers, ranks=ranks)


@torch.no_grad()
def merge(model: nn.Module, adapter: Adapter) -> None:
    """Add the products to the weights themselves."""
    for name, low in adapter.layers.items():
        weight = model.get_submodule(name).weight
        assert isinstance(weight, Tensor)
        weight.add_((low.b.float().T @ low.a.float()).to(weight))
