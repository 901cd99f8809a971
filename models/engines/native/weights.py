"""Weights and tokenizer, from a local folder, a hub id or a .gguf file.

Every fault is a ModelUnusable that says what to do about it: a worker that starts at all can
generate.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoProcessor,
    AutoTokenizer,
    GenerationConfig,
    GgufConfig,
    PreTrainedConfig,
)
from transformers.distributed.configuration_utils import DistributedConfig
from transformers.modeling_utils import PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
from transformers.tokenization_utils_base import PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging
from transformers.utils.hub import cached_file

from colm.models.engine_settings import EngineSettings
from colm.models.engines.native.faults import describe, is_fault
from colm.models.engines.native.gguf import generation_config_of, mend_tokenizer
from colm.models.engines.native.int8 import is_int8, to_int8
from colm.models.engines.native.precision import torch_dtype
from colm.models.engines.native.torch_threads import single_intraop_pool
from colm.models.errors import ColmError, ModelUnusable

log = logging.getLogger(__name__)

#: Rotary embeddings that change with the longest sequence of a batch once it passes the length
#: that the model was first trained at. Below it a result is free of its batch-mates.
_LENGTH_DEPENDENT_ROPE = {"dynamic", "longrope"}


@dataclass(frozen=True, kw_only=True, eq=False)
class LoadedModel:
    """A model in evaluation mode on its device, and the tokenizer that belongs to it."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    #: As the settings name it.
    name: str
    #: The folder, hub id or .gguf file that it was read from; None: it was made in memory.
    source: str | None = None
    #: Prompt and completion together, in tokens.
    context_length: int
    #: Of a vision-language model: what turns chats and images into its inputs.
    processor: Any = None

    @property
    def dtype(self) -> str:
        """bfloat16, float32, float16 or int8."""
        return "int8" if is_int8(self.model) else str(self.model.dtype).removeprefix("torch.")

    @property
    def device(self) -> torch.device:
        return self.model.device

    @property
    def device_name(self) -> str:
        """The device, with the name of its hardware where it is no CPU."""
        if self.device.type != "cuda":
            return str(self.device)
        return f"{self.device} {torch.cuda.get_device_name(self.device)}"[:80]

    @property
    def ends(self) -> frozenset[int]:
        """The tokens that end a turn: those of the model, and the tokenizer's own."""
        return end_tokens(self._generation_config, self.tokenizer)

    @property
    def stops(self) -> tuple[str, ...]:
        """The texts that end a completion of this model, whatever a request says."""
        return stop_strings(self._generation_config)

    @property
    def _generation_config(self) -> GenerationConfig | None:
        """Models whose code is their own may have none."""
        config: GenerationConfig | None = getattr(self.model, "generation_config", None)
        return config


def stop_strings(config: GenerationConfig | None) -> tuple[str, ...]:
    """The texts that end a completion, by the model's generation_config."""
    stops = getattr(config, "stop_strings", None) or ()
    texts = [stops] if isinstance(stops, str) else stops
    return tuple(text for text in texts if isinstance(text, str) and text)


def end_tokens(
    config: GenerationConfig | None, tokenizer: PreTrainedTokenizerBase
) -> frozenset[int]:
    """The tokens that end a turn, by the model's generation_config and by its tokenizer."""
    ends = getattr(config, "eos_token_id", None)
    tokens = set(ends if isinstance(ends, list) else [ends]) | {tokenizer.eos_token_id}
    return frozenset(token for token in tokens if isinstance(token, int))


def load(settings: EngineSettings, *, model_path: str | None = None) -> LoadedModel:
    """The model that `settings` name, from `model_path` if given; raises ModelUnusable.

    `settings.threads` becomes the number of CPU threads of the calling thread and of later ones.
    """
    device = _device(settings.device)
    dtype = torch_dtype(settings.dtype, device)
    source = model_path or settings.model
    with explained(source), single_intraop_pool(settings.threads):
        model, tokenizer, processor = _read(source, dtype, settings)
        model.to(device)  # type: ignore[arg-type] # its decorator hides the signature
        if settings.dtype == "int8":
            to_int8(model)
    model.eval()  # type: ignore[no-untyped-call] # transformers is untyped
    if not (tokenizer.chat_template or getattr(processor, "chat_template", None)):
        raise ModelUnusable(
            f"{source}: the tokenizer has no chat template. Use the model's instruct variant, or"
            " put its template into the folder as chat_template.jinja"
        )
    length = min(context_length(model.config), settings.max_model_len or 2**31)
    return LoadedModel(
        model=model,
        tokenizer=tokenizer,
        name=settings.model,
        source=source,
        context_length=length,
        processor=processor,
    )


def _device(setting: str) -> torch.device:
    if setting == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(setting)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ModelUnusable(
            f"device {setting!r} is asked for, but torch {torch.__version__} sees no CUDA device."
            " Install a CUDA build of torch and a driver, or set device = 'cpu'"
        )
    return device


def _read(
    source: str, dtype: torch.dtype, settings: EngineSettings
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, Any]:
    # A worker's log is no terminal.
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call] # untyped
    path, gguf = Path(source), {}
    # Never None: transformers would ask whoever sits at the terminal.
    trust = {"trust_remote_code": settings.trust_remote_code}
    parts = settings.tensor_parallel
    where = source
    if path.suffix.lower() == ".gguf":
        if not path.is_file():
            raise ModelUnusable(f"there is no file {source}")
        where, gguf = str(path.parent), {"gguf_file": path.name}
    elif path.is_dir() and not (path / "config.json").is_file():
        raise ModelUnusable(f"the folder {source} has no config.json: it is no transformers model")
    elif path.is_absolute() and not path.is_dir():
        raise ModelUnusable(f"there is no folder {source}")
    if not gguf and _sees(where, trust):
        factory: Any = AutoProcessor
        processor = factory.from_pretrained(where, **trust)
        model = _weights(AutoModelForImageTextToText, where, dtype, trust, parts)
        return model, processor.tokenizer, processor
    tokenizer = AutoTokenizer.from_pretrained(where, **gguf, **trust)
    model = _weights(AutoModelForCausalLM, where, dtype, gguf | trust, parts)
    if gguf:
        mend_tokenizer(tokenizer, path)
        model.generation_config = generation_config_of(tokenizer, path)
    return model, tokenizer, None


def _sees(where: str, trust: dict[str, Any]) -> bool:
    """Whether it is a vision-language model, with what it takes to show it images."""
    config = AutoConfig.from_pretrained(where, **trust)
    if config.model_type not in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES:
        return False
    return any(
        cached_file(where, name, _raise_exceptions_for_missing_entries=False)
        for name in ("processor_config.json", "preprocessor_config.json")
    )


def _weights(
    factory: Any, where: str, dtype: torch.dtype, extra: dict[str, Any], parts: int
) -> PreTrainedModel:
    options: dict[str, Any] = {"dtype": dtype, **extra}
    if parts > 1:
        options["distributed_config"] = DistributedConfig(tp_size=parts)
    if "gguf_file" in extra:
        # Without it a GGUF stays in its blocks, which only special kernels can multiply.
        options["quantization_config"] = GgufConfig(dequantize=True)
    model, report = factory.from_pretrained(where, output_loading_info=True, **options)
    if missing := sorted(report["missing_keys"]):
        # They would be random: the model would run, and say nothing of sense.
        raise ModelUnusable(
            f"{where} lacks {len(missing)} of the model's weights, {missing[0]} for one."
            " Fetch the whole folder again"
        )
    assert isinstance(model, PreTrainedModel)
    return model


def context_length(whole: PreTrainedConfig) -> int:
    """Prompt and completion together, in tokens."""
    config = whole.get_text_config(decoder=True)
    length: int = max(0, getattr(config, "max_position_embeddings", None) or 0) or 2048
    rope = getattr(config, "rope_parameters", None) or {}
    if rope.get("rope_type") in _LENGTH_DEPENDENT_ROPE:
        trained = rope.get("original_max_position_embeddings") or length
        if trained < length:
            log.warning(
                "the context is held to %d of %d tokens: beyond, results would depend on"
                " what else is in the batch",
                trained,
                length,
            )
            return int(trained)
    return length


@contextmanager
def explained(source: str) -> Iterator[None]:
    """Whatever loading and trying out a model raises, as one ModelUnusable.

    A model is a stranger's, and the libraries raise what they like for what is wrong with it.
    """
    try:
        yield
    except ModelUnusable as error:
        if source in str(error):
            raise
        raise ModelUnusable(f"{source}: {error}") from error
    except ColmError:
        raise
    except ImportError as error:
        raise ModelUnusable(
            f"{source} needs a package that is missing: {describe(error)}"
        ) from error
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise ModelUnusable(
            f"{source} does not fit into the device's memory: use a smaller dtype or model"
        ) from error
    except BaseException as error:
        if not (is_fault(error) or isinstance(error, SystemExit)):
            raise
        if "trust_remote_code" in str(error):
            raise ModelUnusable(
                f"{source} brings code of its own, which would run with all the rights of this"
                " process: read it, and set trust_remote_code = true in this engine's table, or use"
                " a model that transformers knows"
            ) from error
        raise ModelUnusable(
            f"{source} cannot be loaded: {describe(error)}. A model is a folder with config.json,"
            " weights and tokenizer, a .gguf file, or a hub id when the hub can be reached"
        ) from error
