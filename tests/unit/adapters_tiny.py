"""LoRA adapters of tiny models, as peft saves them, and what peft itself generates with them."""

from __future__ import annotations

import json
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from colm.models.adapters import CONFIG_FILE, WEIGHTS_FILE
from tests.unit.engines_asking import TOKENIZER, ask
from tests.unit.engines_tiny import tiny_model

with warnings.catch_warnings():
    # peft asks transformers for properties that are to go.
    warnings.simplefilter("ignore")
    import peft

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
#: Phi 3 has its projections in one layer each.
TARGETS: dict[str, tuple[str, ...]] = {"phi3": ("qkv_proj", "o_proj", "gate_up_proj", "down_proj")}


def save_adapter(folder: Path, family: str = "llama", *, seed: int = 1, **config: Any) -> Path:
    """An adapter with random A and B; `config` as peft's LoraConfig takes it."""
    adapted(family, seed, **config).save_pretrained(str(folder), save_embedding_layers=False)
    return folder


def adapted(family: str, seed: int, **config: Any) -> Any:
    """The tiny model with a random adapter, in peft."""
    targets = list(TARGETS.get(family, (*ATTENTION, "up_proj")))
    options = {"r": 4, "lora_alpha": 6, "target_modules": targets, **config}
    torch.manual_seed(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        model = peft.get_peft_model(tiny_model(family), peft.LoraConfig(**options))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if ".lora_" in name:
                weight.normal_(std=0.4)
    return model.eval()


def change_config(folder: Path, **fields: Any) -> None:
    path = folder / CONFIG_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def change_tensors(folder: Path, change: Any, metadata: dict[str, str] | None = None) -> None:
    """Save what `change` makes of the tensors; `metadata` goes into the file's header."""
    path = folder / WEIGHTS_FILE
    tensors = change(safetensors.torch.load_file(path))
    safetensors.torch.save_file(tensors, path, metadata)


@cache
def _in_peft(family: str, folder: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return peft.PeftModel.from_pretrained(tiny_model(family), folder).eval()


def generated_by_peft(family: str, folder: Path, text: str, new: int) -> str:
    """The greedy completion of peft's own `generate`."""
    prompt = TOKENIZER.apply_chat_template(
        [turn.model_dump() for turn in ask(text).messages],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    out: Any = _in_peft(family, str(folder)).generate(**prompt, max_new_tokens=new, do_sample=False)
    tokens = out[0, prompt["input_ids"].shape[1] :].tolist()
    return str(TOKENIZER.decode(tokens, skip_special_tokens=True))
