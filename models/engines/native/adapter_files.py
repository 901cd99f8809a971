"""Reads an adapter for one model, or refuses it: ModelUnusable says why and what to do."""

from __future__ import annotations

import json
import logging
from functools import cached_property
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers.modeling_utils import PreTrainedModel
from transformers.utils.hub import cached_file

from colm.models.adapters import (
    BASE_KEY,
    CONFIG_FILE,
    WEIGHTS_FILE,
    adapter_sha256,
    base_sha256,
    read_header,
)
from colm.models.engines.native.int8 import Int8Linear
from colm.models.engines.native.lora import Adapter, Factors, joined
from colm.models.engines.native.lora_config import LoraConfig
from colm.models.engines.native.weights import LoadedModel
from colm.models.errors import ModelUnusable

log = logging.getLogger(__name__)

_PREFIX = "base_model.model."
_PICKLE_FILE = "adapter_model.bin"


class AdapterReader:
    """Reads adapters for one loaded model."""

    def __init__(self, loaded: LoadedModel) -> None:
        self._source = loaded.source
        self._modules = dict(loaded.model.named_modules())
        self._linear = [
            n for n, m in self._modules.items() if isinstance(m, nn.Linear | Int8Linear)
        ]
        self._head = _output_layer(loaded.model, self._modules)

    def read(self, folder: str, *, dtype: torch.dtype | None = None) -> Adapter:
        """The adapter in `folder`, on the devices of its layers; `dtype` instead of the layers'.

        Raises ModelUnusable.
        """
        try:
            return self._read(Path(folder), dtype)
        except ModelUnusable as error:
            raise ModelUnusable(f"the adapter {folder} cannot be used: {error}") from error

    def _read(self, folder: Path, dtype: torch.dtype | None) -> Adapter:
        fields, weights = _files(folder)
        try:
            metadata = read_header(weights).metadata
            tensors = safetensors.torch.load(weights)
        except (SafetensorError, ValueError, AttributeError) as error:
            raise ModelUnusable(f"{WEIGHTS_FILE} is no safetensors file: {error}") from error
        self._check_base(folder, metadata)
        config = LoraConfig.parse(fields)
        names = config.targets(self._modules, linear=self._linear, head=self._head)
        _check_keys(tensors.keys(), names)
        factors = {name: [self._factors(name, config, tensors, dtype)] for name in names}
        return Adapter(sha256=adapter_sha256(fields, weights), layers=joined(factors))

    def _check_base(self, folder: Path, metadata: dict[str, str]) -> None:
        trained_on = metadata.get(BASE_KEY)
        if trained_on is None or self._source is None:
            log.warning("%s: whether it was trained on this base model cannot be checked", folder)
        elif trained_on != self._base:
            raise ModelUnusable(
                f"it was trained on another base model (sha256 {trained_on[:12]}, and"
                f" {self._source} has {self._base[:12]}): set `model` to that model, or train the"
                " adapter anew"
            )

    @cached_property
    def _base(self) -> str:
        source = Path(self._source or "")
        if not source.exists():
            source = Path(cached_file(str(source), "config.json") or "").parent
        return base_sha256(source)

    def _factors(
        self, name: str, config: LoraConfig, tensors: dict[str, Tensor], dtype: torch.dtype | None
    ) -> Factors:
        module, rank = self._modules[name], config.rank(name)
        if not isinstance(module, nn.Linear | Int8Linear):
            raise ModelUnusable(
                f"its target module {name!r} is a {type(module).__name__}: the engine adapts"
                " linear layers only"
            )
        a, b = (tensors[key] for key in _keys(name))
        for key, tensor, shape in zip(
            _keys(name),
            (a, b),
            ((rank, module.in_features), (module.out_features, rank)),
            strict=True,
        ):
            if tuple(tensor.shape) != shape:
                raise ModelUnusable(
                    f"{key} has the shape {tuple(tensor.shape)}, and rank and base model make it"
                    f" {shape}: it was trained on another base model or its config was changed"
                )
            if not tensor.is_floating_point() or not bool(tensor.float().isfinite().all()):
                raise ModelUnusable(f"{key} has values that are not finite: train it anew")
        weight = module.weight if isinstance(module, nn.Linear) else torch.empty(0)
        # On processors a small product costs less in float32 than in bfloat16, as in peft.
        quick = torch.float32 if weight.device.type == "cpu" else weight.dtype
        like = weight.new_empty(0, dtype=dtype or quick)
        scaled = b.float() * config.scale(name)
        return Factors(0, a.to(like), scaled.T.to(like))


def _files(folder: Path) -> tuple[dict[str, Any], bytes]:
    if not folder.is_dir():
        raise ModelUnusable("there is no such folder")
    if not (folder / WEIGHTS_FILE).is_file() and (folder / _PICKLE_FILE).exists():
        raise ModelUnusable(
            f"{_PICKLE_FILE} is a pickle, which can run code: save it as {WEIGHTS_FILE}"
            " (peft: save_pretrained with safe_serialization=True)"
        )
    try:
        fields = json.loads((folder / CONFIG_FILE).read_bytes())
        weights = (folder / WEIGHTS_FILE).read_bytes()
    except (OSError, ValueError) as error:
        raise ModelUnusable(
            f"{error}. An adapter is a folder with {CONFIG_FILE} and {WEIGHTS_FILE}"
        ) from error
    if not isinstance(fields, dict):
        raise ModelUnusable(f"{CONFIG_FILE} is no JSON object")
    return fields, weights


def _keys(module: str) -> tuple[str, str]:
    return (
        f"{_PREFIX}{module}.lora_A.weight",
        f"{_PREFIX}{module}.lora_B.weight",
    )


def _check_keys(present: Any, names: list[str]) -> None:
    expected = {key for name in names for key in _keys(name)}
    if unexpected := sorted(present - expected):
        raise ModelUnusable(
            f"{len(unexpected)} of its tensors belong to no target module, {unexpected[0]} for one:"
            " it was trained for another model or by another method than its config says"
        )
    if missing := sorted(expected - present):
        raise ModelUnusable(
            f"it lacks {len(missing)} of its tensors, {missing[0]} for one: copy the whole folder"
            " again"
        )


def _output_layer(model: PreTrainedModel, modules: dict[str, nn.Module]) -> str:
    head: Any = model.get_output_embeddings()  # type: ignore[no-untyped-call] # untyped
    return next((name for name, module in modules.items() if module is head), "")
