"""Eight-bit linear layers: as near to float32 as their bits allow, and free of the batch."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from colm.models.engine_settings import EngineSettings
from colm.models.engines.factory import build_engine
from colm.models.engines.native.int8 import Int8Linear, to_int8
from colm.models.engines.native.precision import cpu_dtype, torch_dtype
from colm.models.engines.native.weights import load
from colm.models.errors import ModelUnusable
from tests.unit.engines_asking import SOON, ask
from tests.unit.engines_tiny import tiny_model, tiny_tokenizer

pytestmark = pytest.mark.skipif(
    "fbgemm" not in torch.backends.quantized.supported_engines,
    reason="this build of torch has no FBGEMM",
)


def linear(inputs: int, outputs: int, *, bias: bool = True) -> nn.Linear:
    torch.manual_seed(3)
    return nn.Linear(inputs, outputs, bias=bias)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(512,), (1, 512), (7, 512), (2, 5, 512)])
def test_it_is_near_to_what_the_layer_computes(shape: tuple[int, ...], bias: bool) -> None:
    layer = linear(512, 96, bias=bias)
    inputs = torch.randn(shape, generator=torch.Generator().manual_seed(1))

    with torch.inference_mode():
        found, exact = Int8Linear(layer)(inputs), layer(inputs)

    assert found.shape == exact.shape
    assert found.dtype == torch.float32
    assert float((found - exact).norm() / exact.norm()) < 0.02


def test_a_wide_row_takes_nothing_from_the_rows_beside_it() -> None:
    """With one scale for the batch, a row a thousand times wider would leave the others nothing."""
    layer = Int8Linear(linear(256, 64))
    rows = torch.randn(6, 256, generator=torch.Generator().manual_seed(2))
    rows[3] *= 1000

    with torch.inference_mode():
        together, alone = layer(rows), torch.stack([layer(row) for row in rows])

    assert torch.equal(together, alone)


def test_a_small_output_keeps_its_bits_beside_a_large_one() -> None:
    layer = linear(256, 64, bias=False)
    with torch.no_grad():
        layer.weight[0] *= 1000
    inputs = torch.randn(4, 256, generator=torch.Generator().manual_seed(2))

    with torch.inference_mode():
        found, exact = Int8Linear(layer)(inputs), layer(inputs)

    apart = (found - exact).norm(dim=0) / exact.norm(dim=0)
    assert float(apart.max()) < 0.05


def test_no_sum_of_products_overflows() -> None:
    """The largest products there are, all of one sign: kernels without VNNI add two in 16 bits."""
    layer = linear(4096, 8, bias=False)
    with torch.no_grad():
        layer.weight.fill_(0.5)
        layer.weight[1::2] *= -1

    with torch.inference_mode():
        found = Int8Linear(layer)(torch.stack([torch.ones(4096), -torch.ones(4096)]))

    exact = torch.tensor([2048.0, -2048.0]).repeat(4)
    assert torch.allclose(found, torch.stack([exact, -exact]), rtol=1e-6)


def test_rows_and_outputs_of_zeros_stay_zero() -> None:
    layer = linear(32, 4, bias=False)
    with torch.no_grad():
        layer.weight[2] = 0.0

    with torch.inference_mode():
        found = Int8Linear(layer)(torch.stack([torch.zeros(32), torch.ones(32)]))

    assert not found[0].any()
    assert float(found[1, 2]) == 0.0
    assert math.isfinite(float(found.sum()))


def test_a_model_says_nearly_the_same() -> None:
    exact, packed = tiny_model(), tiny_model()
    to_int8(packed)
    tokens = torch.arange(3, 40).unsqueeze(0)

    with torch.inference_mode():
        left = exact(tokens).logits.log_softmax(-1)
        right = packed(tokens).logits.log_softmax(-1)

    assert not any(type(part) is nn.Linear for part in packed.modules())
    divergence = (left.exp() * (left - right)).sum(-1).mean()
    assert float(divergence) < 0.1


def test_an_engine_runs_it_and_says_so(tmp_path: Path) -> None:
    tiny_model().save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)

    engine = build_engine(EngineSettings(model=str(tmp_path), dtype="int8"))
    try:
        completion = engine.submit(ask("one two three", new=5)).result(SOON)
    finally:
        engine.close()

    assert engine.info.dtype == completion.dtype == "int8"
    assert completion.completion_tokens > 0


def test_it_is_refused_where_it_cannot_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelUnusable, match="set device = 'cpu'"):
        torch_dtype("int8", torch.device("cuda"))
    with pytest.raises(ValueError, match="kind 'transformers'"):
        EngineSettings(dtype="int8", kind="openvino")
    with pytest.raises(ValueError, match="kind 'transformers'"):
        EngineSettings(dtype="int8", kind="paged")
    with pytest.raises(ValueError, match="tensor_parallel = 1"):
        EngineSettings(dtype="int8", tensor_parallel=2)
    monkeypatch.setattr("colm.models.engines.native.int8._ENGINE", "no such kernels")
    tiny_model().save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ModelUnusable, match="needs torch's FBGEMM"):
        load(EngineSettings(model=str(tmp_path), dtype="int8"))


def test_its_name_is_what_the_record_shows() -> None:
    assert cpu_dtype("int8") == "int8"
