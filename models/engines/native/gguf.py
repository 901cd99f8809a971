"""GGUF files: what transformers misses in them, and a transformers folder made out of one.

A GGUF loads slowly, and what was loaded from one cannot be saved as it is. The folder that
`convert_gguf` makes loads in a second or so, ever after.
"""

from __future__ import annotations

import io
import shutil
import tempfile
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import torch
from gguf import GGUFReader
from tokenizers import pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, GgufConfig
from transformers.modeling_utils import PreTrainedModel
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from colm.models.engines.native.faults import describe, is_fault
from colm.models.errors import ModelUnusable

#: Values of `tokenizer.ggml.pre` whose tokenizers split digits one by one before the byte level.
#: transformers does not read that field, and gives these a plain byte level: other tokens.
_SINGLE_DIGITS = {"smollm", "starcoder", "refact", "command-r"}


def convert_gguf(gguf: Path, folder: Path, dtype: torch.dtype = torch.float32) -> None:
    """Make `folder` a transformers model out of the file `gguf`: whole, or not at all.

    Does nothing when the folder exists. Raises ModelUnusable when the file is missing or cannot be
    converted.
    """
    if folder.exists():
        return
    if not gguf.is_file():
        raise ModelUnusable(f"there is no file {gguf}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Beside the folder, so that the rename stays within one file system.
    work = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        # transformers draws bars, which are raw lines wherever several draw or nobody looks.
        with redirect_stderr(io.StringIO()):
            _convert(gguf, work, dtype)
        _readable(work)
        work.rename(folder)
    except BaseException as error:
        if not is_fault(error):
            raise
        if not folder.exists():  # else another process was first, with the same result
            raise ModelUnusable(f"{gguf} cannot be converted: {describe(error)}") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def mend_tokenizer(tokenizer: PreTrainedTokenizerBase, gguf: Path) -> None:
    """Make the tokenizer that transformers read out of `gguf` split text as the file says."""
    field = GGUFReader(gguf).fields.get("tokenizer.ggml.pre")
    if field is not None and field.contents() in _SINGLE_DIGITS:
        backend: Any = tokenizer
        backend.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Digits(individual_digits=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
            ]
        )


def generation_config_of(tokenizer: PreTrainedTokenizerBase, gguf: Path) -> GenerationConfig:
    """The tokens that begin and end a text, by the file: those that end a turn or a message too,
    which transformers does not read."""
    fields = GGUFReader(gguf).fields
    named = (fields.get(f"tokenizer.ggml.{name}_token_id") for name in ("eos", "eot", "eom"))
    size = len(tokenizer)
    token_ids = {int(field.contents()) for field in named if field is not None}
    ends = sorted(end for end in token_ids | {tokenizer.eos_token_id} if end in range(size))
    return GenerationConfig(  # type: ignore[no-untyped-call] # untyped
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=ends or None,
        pad_token_id=tokenizer.pad_token_id,
    )


def _readable(folder: Path) -> None:
    """Temporary files are private; a model that root fetched is read by the workers' user."""
    folder.chmod(0o755)
    for file in folder.iterdir():
        file.chmod(0o644)


def _convert(gguf: Path, folder: Path, dtype: torch.dtype) -> None:
    where, name = str(gguf.parent), gguf.name
    tokenizer = AutoTokenizer.from_pretrained(where, gguf_file=name)
    mend_tokenizer(tokenizer, gguf)
    loaded = AutoModelForCausalLM.from_pretrained(
        where, gguf_file=name, dtype=dtype, quantization_config=GgufConfig(dequantize=True)
    )
    model = _plain(loaded, dtype)
    model.generation_config = generation_config_of(tokenizer, gguf)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _plain(loaded: PreTrainedModel, dtype: torch.dtype) -> PreTrainedModel:
    """The same weights in a model that does not know it came from a GGUF, which may be saved."""
    config = loaded.config.to_dict()
    config.pop("quantization_config", None)
    made: PreTrainedModel = type(loaded)._from_config(  # type: ignore[no-untyped-call] # untyped
        type(loaded.config).from_dict(config), dtype=dtype
    )
    made.load_state_dict(loaded.state_dict(), strict=True)
    made.tie_weights()
    return made
