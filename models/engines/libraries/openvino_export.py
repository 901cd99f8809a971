"""A transformers model as OpenVINO runs it: traced once, with its KV cache as state.

GenAI's continuous batching then puts pages in the place of that state. Only models all of whose
layers attend to everything before them come out right; others are refused.
"""

from __future__ import annotations

import shutil
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy
import openvino
import torch
from openvino import opset13
from openvino._offline_transformations import apply_make_stateful_transformation
from torch import Tensor, nn
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from colm.models.engines.native.weights import LoadedModel
from colm.models.errors import ModelUnusable

MODEL = "openvino_model.xml"
#: Sizes of the example that is traced; every one of them is free afterwards.
_ROWS, _HELD, _NEW = 2, 3, 4


def export(loaded: LoadedModel, folder: Path, *, half: bool) -> None:
    """Make `folder` an OpenVINO model: whole, or not at all. `half`: keep weights in 16 bits.

    Raises ModelUnusable when the model cannot be converted or the folder cannot be written.
    """
    layers = DynamicCache(config=loaded.model.config).layers
    if any(type(layer) is not DynamicLayer for layer in layers):
        raise ModelUnusable(
            f"{loaded.name} ({loaded.model.config.model_type}) has layers that do not attend to"
            " all tokens before: OpenVINO would run it wrongly. Set kind = 'transformers'"
        )
    try:
        work = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise ModelUnusable(
            f"{folder} cannot be written ({error.strerror}): convert the model where it can, and"
            " give that folder as the model"
        ) from error
    try:
        openvino.save_model(_traced(loaded, len(layers)), work / MODEL, compress_to_fp16=half)
        loaded.model.config.save_pretrained(work)
        if (config := getattr(loaded.model, "generation_config", None)) is not None:
            config.save_pretrained(work)
        loaded.tokenizer.save_pretrained(work)
        work.chmod(0o755)
        work.rename(folder)
    except (OSError, RuntimeError, ValueError, TypeError) as error:
        if not folder.exists():  # else another process was first, with the same result
            raise ModelUnusable(f"{loaded.name} cannot be converted: {error}") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


class _Flat(nn.Module):
    """The model with its cache as plain inputs and outputs."""

    def __init__(self, model: Any, layers: int) -> None:
        super().__init__()
        self._model = model
        self._count = layers

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, position_ids: Tensor, *past: Tensor
    ) -> tuple[Tensor, ...]:
        cache = DynamicCache()
        layers = [_layer(*past[2 * i : 2 * i + 2]) for i in range(self._count)]
        cache.layers = list(layers)
        output = self._model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=cache,
            use_cache=True,
        )
        held = [tensor for layer in layers for tensor in (layer.keys, layer.values)]
        return (output.logits, *(tensor for tensor in held if tensor is not None))


def _layer(keys: Tensor, values: Tensor) -> DynamicLayer:
    layer = DynamicLayer()  # type: ignore[no-untyped-call] # transformers is untyped
    layer.keys, layer.values = keys, values
    layer.dtype, layer.device = keys.dtype, keys.device
    layer.is_initialized = True
    return layer


def _traced(loaded: LoadedModel, layers: int) -> Any:
    config: Any = loaded.model.config.get_text_config(decoder=True)
    heads = config.num_key_value_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    example = (
        torch.ones(_ROWS, _NEW, dtype=torch.long),
        torch.zeros(_ROWS, 1, _NEW, _HELD + _NEW),
        torch.arange(_HELD, _HELD + _NEW).repeat(_ROWS, 1),
        *(torch.zeros(_ROWS, heads, _HELD, width) for _ in range(2 * layers)),
    )
    loaded.model.set_attn_implementation("sdpa")
    with torch.no_grad(), warnings.catch_warnings():
        # The tracer's: what it freezes is the shape of the example, and that is freed below.
        warnings.simplefilter("ignore")
        model = openvino.convert_model(_Flat(loaded.model, layers), example_input=example)
    _name(model, layers, heads, width)
    _make_stateful(model, layers, heads, width)
    return model


def _states(prefix: str, layers: int) -> list[str]:
    return [f"{prefix}.{i}.{kind}" for i in range(layers) for kind in ("key", "value")]


def _name(model: Any, layers: int, heads: int, width: int) -> None:
    free = [[-1, -1], [-1, -1, -1, -1], [-1, -1]] + [[-1, heads, -1, width]] * (2 * layers)
    names = ["input_ids", "attention_mask", "position_ids", *_states("past_key_values", layers)]
    for entry, name, shape in zip(model.inputs, names, free, strict=True):
        entry.get_tensor().set_names({name})
        entry.get_node().set_partial_shape(openvino.PartialShape(shape))
    for result, name in zip(model.outputs, ["logits", *_states("present", layers)], strict=True):
        result.get_tensor().set_names({name})
    model.validate_nodes_and_infer_types()


def _make_stateful(model: Any, layers: int, heads: int, width: int) -> None:
    """Turn the cache's inputs and outputs into state, as GenAI expects to find it."""
    rows = opset13.parameter([-1], openvino.Type.i32, name="beam_idx")
    rows.output(0).get_tensor().add_names({"beam_idx"})
    model.add_parameters([rows])
    zero = opset13.constant(numpy.int64(0))
    for name in _states("past_key_values", layers):
        past = model.input(name)
        readers = past.get_target_inputs()
        chosen = opset13.gather(past, rows, zero)
        for reader in readers:
            reader.replace_source_output(chosen.output(0))
    model.validate_nodes_and_infer_types()
    pairs = zip(_states("past_key_values", layers), _states("present", layers), strict=True)
    apply_make_stateful_transformation(model, dict(pairs))
    shape = opset13.shape_of(model.input("input_ids"), output_type="i64")
    first = opset13.constant(numpy.array([0], dtype=numpy.int64))
    inner = opset13.constant(numpy.array([heads, 0, width], dtype=numpy.int64))
    empty = opset13.concat([opset13.gather(shape, first, zero), inner], axis=0)
    for node in model.get_ops():
        if node.get_type_name() == "ReadValue":
            nothing = opset13.broadcast(opset13.constant(numpy.float32(0)), empty)
            node.set_arguments([nothing])
    model.validate_nodes_and_infer_types()
