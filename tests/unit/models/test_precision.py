from pathlib import Path

import pytest
import torch

from colm.models.engine_settings import EngineSettings
from colm.models.engines.native import precision
from colm.models.engines.native.precision import processor_has_bfloat16, torch_dtype
from colm.models.errors import ModelUnusable

CPU_INFO = Path("/proc/cpuinfo")
FLAGS = {
    flag
    for line in (CPU_INFO.read_text().splitlines() if CPU_INFO.exists() else ())
    if line.startswith("flags")
    for flag in line.partition(":")[2].split()
}
CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    ("able", "device", "wanted", "dtype"),
    [
        (True, CPU, "auto", torch.bfloat16),
        (False, CPU, "auto", torch.float32),
        (False, CUDA, "auto", torch.bfloat16),
        (False, CPU, "bfloat16", torch.bfloat16),
        (True, CPU, "float32", torch.float32),
        (True, CPU, "float16", torch.float16),
    ],
)
def test_auto_is_bfloat16_only_where_the_device_is_quick_at_it(
    able: bool,
    device: torch.device,
    wanted: str,
    dtype: torch.dtype,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(precision, "processor_has_bfloat16", lambda: able)

    assert torch_dtype(wanted, device) == dtype


def test_a_choice_that_is_slow_on_this_processor_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(precision, "processor_has_bfloat16", lambda: False)

    torch_dtype("bfloat16", CPU)

    assert "set dtype = 'auto' or 'float32'" in caplog.text


@pytest.mark.skipif(not FLAGS, reason="the kernel tells nothing of an x86 processor here")
def test_bfloat16_is_said_of_a_processor_with_instructions_for_it_and_of_no_other() -> None:
    """Either its own, or the AVX-512 by which oneDNN makes do."""
    made_for_it = {"avx512_bf16", "amx_bf16"} & FLAGS
    makes_do = {"avx512bw", "avx512vl", "avx512dq"} <= FLAGS or "avx_ne_convert" in FLAGS

    assert processor_has_bfloat16() or not made_for_it
    assert made_for_it or makes_do or not processor_has_bfloat16()


def test_openvino_refuses_what_the_processor_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    openvino = pytest.importorskip("colm.models.engines.libraries.openvino")
    for module in (openvino, precision):
        monkeypatch.setattr(module, "processor_has_bfloat16", lambda: False)

    assert openvino._precision(EngineSettings(kind="openvino")) == "f32"
    with pytest.raises(ModelUnusable, match="set dtype = 'auto' or 'float32'"):
        openvino._precision(EngineSettings(kind="openvino", dtype="bfloat16"))
