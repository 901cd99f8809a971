"""The work that `engine.throughput` gives to engines, and the file it makes for llama.cpp."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import gguf
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks.engine.llama_server import write_gguf
from benchmarks.engine.work import NEW_TOKENS, PROMPT_TOKENS, Call, mixed, run_flow, run_stages
from colm.models.messages import Turn
from tests.unit.engines_tiny import tiny_tokenizer


def _count(chat: Sequence[Turn]) -> int:
    return sum(len(turn.content.split()) for turn in chat)


def test_mixed_requests_span_the_lengths_and_are_others_in_each_sample() -> None:
    first, second = mixed(16, _count), mixed(16, _count, sample=1)

    lengths = sorted(_count(call.messages) for call in first)
    assert (lengths[0], lengths[-1]) == PROMPT_TOKENS
    assert tuple(sorted(call.tokens for call in first))[:: len(first) - 1] == NEW_TOKENS
    assert [call.tokens for call in first] == [call.tokens for call in second]
    assert not {call.messages for call in first} & {call.messages for call in second}


def test_a_flow_makes_the_same_calls_alone_and_by_stages() -> None:
    def recorded(into: list[Call], calls: Sequence[Call]) -> list[str]:
        into.extend(calls)
        return [f"said {call.tokens}" for call in calls]

    alone: list[Call] = []
    staged: list[Call] = []
    tokens = sum(run_flow(n, lambda calls: recorded(alone, calls), 0) for n in range(3))

    assert tokens == run_stages(3, lambda calls: recorded(staged, calls), 0)
    assert tokens == sum(call.tokens for call in alone) == sum(call.tokens for call in staged)
    assert len(alone) == 3 * 7
    assert set(map(repr, alone)) == set(map(repr, staged))


def test_the_file_for_llama_cpp_has_every_weight_of_the_folder(tmp_path: Path) -> None:
    config = LlamaConfig(
        vocab_size=99, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=True,
    )  # fmt: skip
    model = LlamaForCausalLM(config).to(torch.bfloat16)  # type: ignore[arg-type] # hidden signature
    folder = tmp_path / "model"
    model.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)

    write_gguf(folder, tmp_path / "model.gguf")

    read = gguf.GGUFReader(tmp_path / "model.gguf")
    assert sum(int(t.n_elements) for t in read.tensors) == sum(
        p.numel() for p in model.parameters()
    )
    assert {t.tensor_type.name for t in read.tensors} == {"F16", "F32"}
