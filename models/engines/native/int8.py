"""Linear layers in eight-bit integers, for processors: the weights once, the inputs as they come.

A weight has one scale for each output, an input one for each token, so that a token's result does
not depend on what stands beside it in the batch: what is called W8A8 with dynamic activations per
token. Products are summed in 32-bit integers by FBGEMM, the kernels that torch brings along. On a
processor without VNNI they add two products in 16 bits first; with seven bits for weights and eight
for inputs that sum never overflows. Inputs get the eighth bit because theirs is the wider range.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from colm.models.errors import ModelUnusable

_ENGINE = "fbgemm"
#: The largest magnitudes of a weight and of an input.
_WEIGHT, _INPUT = 63, 127
#: Inputs are unsigned: this is their zero.
_ZERO = 128
_SMALLEST = 1e-12


class Int8Linear(nn.Module):
    """A linear layer with eight-bit weights and inputs; float32 outside."""

    bias: torch.Tensor | None

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = layer.in_features, layer.out_features
        weight = layer.weight.detach().to(torch.float32)
        scales = weight.abs().amax(dim=1).clamp_(min=_SMALLEST).to(torch.float64) / _WEIGHT
        zeros = torch.zeros(self.out_features, dtype=torch.int64)
        with _kernels():
            self._packed = torch.ops.quantized.linear_prepack(
                torch.quantize_per_channel(weight, scales, zeros, 0, torch.qint8), None
            )
        bias = None if layer.bias is None else layer.bias.detach().to(torch.float32)
        self.register_buffer("bias", bias)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """(..., in_features) -> (..., out_features)."""
        rows = inputs.reshape(-1, self.in_features)
        largest = rows.abs().amax(dim=-1, keepdim=True).clamp_(min=_SMALLEST)
        # Every row's largest magnitude is 1, so that one fixed scale is each row's own.
        outputs: torch.Tensor = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32(
            rows / largest, 1 / _INPUT, _ZERO, self._packed
        )
        outputs *= largest
        if self.bias is not None:
            outputs += self.bias
        return outputs.view(*inputs.shape[:-1], self.out_features)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}"


def to_int8(model: nn.Module) -> None:
    """Replaces every linear layer of a float32 `model` on the CPU; raises ModelUnusable.

    Embeddings, norms and attention stay in float32. Each weight's memory is given back as its
    layer is replaced, unless an embedding shares it.
    """
    if _ENGINE not in torch.backends.quantized.supported_engines:
        raise ModelUnusable(
            "dtype 'int8' needs torch's FBGEMM kernels, which this build of torch lacks (they are"
            " for x86 processors): set dtype = 'auto'"
        )
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Linear:
                setattr(parent, name, Int8Linear(child))


def is_int8(model: nn.Module) -> bool:
    return any(isinstance(part, Int8Linear) for part in model.modules())


@contextmanager
def _kernels() -> Iterator[None]:
    """torch decides by a global setting for which kernels it packs a weight.

    It warns that quantized tensors will go one day; there is no other way into these kernels yet.
    """
    before = torch.backends.quantized.engine
    torch.backends.quantized.engine = _ENGINE
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", message=".*quantize_per_channel", category=UserWarning
            )
            yield
    finally:
        torch.backends.quantized.engine = before
