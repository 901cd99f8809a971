"""Which arithmetic a device is quick at: what `dtype = "auto"` means there.

A processor without instructions for bfloat16 multiplies batches of it several times slower than
float32, so `auto` is float32 there, which takes twice the memory.
"""

from __future__ import annotations

import logging

import torch

from colm.models.errors import ModelUnusable

log = logging.getLogger(__name__)

_NAMED = {
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float32": torch.float32,
    # Of the linear layers alone: everything else is float32.
    "int8": torch.float32,
}


def processor_has_bfloat16() -> bool:
    """Whether oneDNN, by which torch multiplies matrices, has kernels for it on this processor."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call] # untyped
        return False
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def torch_dtype(setting: str, device: torch.device) -> torch.dtype:
    """The torch dtype of the setting `dtype` on `device`; warns of a slow one.

    Raises ModelUnusable for int8 on a GPU.
    """
    if setting == "int8" and device.type != "cpu":
        raise ModelUnusable(
            f"dtype 'int8' is for processors, not for {device}:"
            " set device = 'cpu', or dtype = 'auto'"
        )
    quick = device.type != "cpu" or processor_has_bfloat16()
    if setting == "auto":
        return torch.bfloat16 if quick else torch.float32
    if not quick and setting == "bfloat16":
        log.warning(
            "this processor has no instructions for bfloat16, which makes it several times slower"
            " than float32: set dtype = 'auto' or 'float32'"
        )
    return _NAMED[setting]


def cpu_dtype(setting: str) -> str:
    """The name of what the setting `dtype` means on this processor."""
    if setting == "int8":
        return setting
    return str(torch_dtype(setting, torch.device("cpu"))).removeprefix("torch.")
