"""Writes a tuned adapter as a folder in peft's format, with its origin in the metadata."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from peft import get_peft_model_state_dict
from safetensors.torch import save

from colm.models.adapters import CONFIG_FILE, WEIGHTS_FILE, digest_of_folder, read_header
from colm.models.errors import ColmError


def write_adapter(model: Any, folder: Path, *, base: str, metadata: Mapping[str, str]) -> str:
    """Write the adapter of a peft model; its SHA-256. Raises ColmError where it cannot be written.

    `base` is the name of the base model that the config gives. Each file replaces the former one
    whole: an engine that reads the folder meanwhile sees the old adapter or the new one.
    """
    tensors = {
        name: tensor.detach().float().cpu().contiguous()
        for name, tensor in get_peft_model_state_dict(model).items()
    }
    config = {
        **model.peft_config["default"].to_dict(),
        "base_model_name_or_path": base,
        "inference_mode": True,
    }
    text = json.dumps(config, default=_jsonable, indent=2, sort_keys=True)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _replace(folder / WEIGHTS_FILE, _ordered(save(tensors, {"format": "pt", **metadata})))
        _replace(folder / CONFIG_FILE, text.encode() + b"\n")
        return digest_of_folder(folder)
    except OSError as error:
        raise ColmError(
            f"the adapter cannot be written to {folder}: {error.strerror or error}; name a folder "
            "of yours with --adapter"
        ) from error


def _ordered(file: bytes) -> bytes:
    """The safetensors file with its metadata in order: the library's order differs every time."""
    header = read_header(file)
    fields = {"__metadata__": dict(sorted(header.metadata.items())), **header.tensors}
    text = json.dumps(fields, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + file[header.start :]


def _jsonable(value: Any) -> Any:
    return sorted(value) if isinstance(value, set) else str(value)


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_name(path.name + ".writing")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
