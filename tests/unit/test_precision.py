import time

import pytest
import torch

from models.engine_settings import EngineSettings
from models.engines import precision
from models.engines.precision import processor_has_bfloat16, torch_dtype
from models.errors import ModelUnusable

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


def test_a_processor_said_to_have_bfloat16_multiplies_it_about_as_quickly_as_float32() -> None:
    """The other way round nothing is promised: some processors emulate it well."""
    if not processor_has_bfloat16():
        pytest.skip("this processor has no instructions for bfloat16")

    assert _seconds(torch.bfloat16) < 4 * _seconds(torch.float32)


def test_openvino_refuses_what_the_processor_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    openvino = pytest.importorskip("models.engines.openvino")
    for module in (openvino, precision):
        monkeypatch.setattr(module, "processor_has_bfloat16", lambda: False)

    assert openvino._precision(EngineSettings(kind="openvino")) == "f32"
    with pytest.raises(ModelUnusable, match="set dtype = 'auto' or 'float32'"):
        openvino._precision(EngineSettings(kind="openvino", dtype="bfloat16"))


def _seconds(dtype: torch.dtype) -> float:
    left, right = torch.ones(64, 1024, dtype=dtype), torch.ones(1024, 1024, dtype=dtype)
    times = []
    for _ in range(9):
        start = time.process_time()
        left @ right
        times.append(time.process_time() - start)
    return min(times)
