"""Models and a tokenizer small enough to make in a test: random weights, no files, no network."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    GptOssConfig,
    Lfm2Config,
    LlamaConfig,
    MistralConfig,
    Phi3Config,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
)

from colm.models.engines.native.weights import LoadedModel

SPECIAL = ("<|pad|>", "<|end|>", "<|start|>")
TEMPLATE = (
    "{% for m in messages %}<|start|>{{ m.role }}\n{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
)
CONTEXT = 4096
WINDOW = 8


def _alphabet() -> list[str]:
    """Byte-level letters, those of printable ASCII and newline first: a model of that vocabulary
    writes one character a token, so equal texts are equal tokens."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    plain = {chr(code) for code in range(33, 127)} | {"\u0120", "\u010a"}
    return [x for x in letters if x in plain] + [x for x in letters if x not in plain]


def tiny_tokenizer(template: str | None = TEMPLATE) -> PreTrainedTokenizerFast:
    vocabulary = {token: index for index, token in enumerate([*SPECIAL, *_alphabet()])}
    backend = Tokenizer(BPE(vocab=vocabulary, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken(text, special=True) for text in SPECIAL])
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call] # transformers is untyped
        tokenizer_object=backend,
        pad_token="<|pad|>",
        eos_token="<|end|>",
        bos_token="<|start|>",
        chat_template=template,
    )


_SIZE: dict[str, Any] = {
    "vocab_size": len(SPECIAL) + 96,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": CONTEXT,
    # Wide: logits of a narrow random model nearly tie, and rounding would decide.
    "initializer_range": 0.5,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "bos_token_id": 2,
}

FAMILIES: dict[str, Any] = {
    "llama": lambda: LlamaConfig(**_SIZE),
    "qwen2": lambda: Qwen2Config(
        **_SIZE, use_sliding_window=True, sliding_window=WINDOW, max_window_layers=1
    ),
    "qwen3": lambda: Qwen3Config(**_SIZE, head_dim=8),
    "mistral": lambda: MistralConfig(**_SIZE, sliding_window=WINDOW),
    "gemma2": lambda: Gemma2Config(
        **_SIZE, head_dim=8, sliding_window=WINDOW, query_pre_attn_scalar=8
    ),
    "gemma3": lambda: Gemma3TextConfig(
        **_SIZE, head_dim=8, sliding_window=WINDOW, query_pre_attn_scalar=8
    ),
    "phi3": lambda: Phi3Config(**_SIZE),
    "lfm2": lambda: Lfm2Config(**_SIZE, full_attn_idxs=[1]),
    "gpt-oss": lambda: GptOssConfig(
        **_SIZE, head_dim=8, num_local_experts=2, num_experts_per_tok=1, sliding_window=WINDOW
    ),
    "gemma3-bidirectional": lambda: Gemma3TextConfig(
        **_SIZE, head_dim=8, sliding_window=WINDOW, use_bidirectional_attention=True
    ),
}
#: Those that the transformers engine drives.
DRIVEN = ("llama", "qwen2", "qwen3", "mistral", "gemma2", "gemma3", "phi3")


@cache
def _made(family: str) -> Any:
    torch.manual_seed(20)
    factory: Any = AutoModelForCausalLM
    return factory.from_config(FAMILIES[family]()).float().eval()


def tiny_model(family: str = "llama") -> Any:
    """A model of its own for each caller; two of one family have the same weights."""
    return copy.deepcopy(_made(family))


def tiny_loaded(family: str = "llama", *, endless: bool = False) -> LoadedModel:
    """`endless`: the model never ends its turn by itself."""
    model = tiny_model(family)
    if endless:
        with torch.no_grad():
            model.lm_head.weight[: len(SPECIAL)] = 0.0
    return LoadedModel(
        model=model,
        tokenizer=tiny_tokenizer(),
        name=f"tiny-{family}",
        context_length=CONTEXT,
    )
