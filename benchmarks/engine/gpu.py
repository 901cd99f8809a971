"""The GPU mode of `throughput`: models of real shape, random weights, in bfloat16.

One engine at a time has the device. What they say makes no sense; what it costs does.
"""

from __future__ import annotations

import argparse
import gc
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen3Config
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from benchmarks.engine.peers import Absent, EnginePeer, Peer, StaticPeer, ours, paged, timed
from benchmarks.engine.vllm import vllm
from benchmarks.engine.work import Call, mixed
from benchmarks.harness.report import Report
from colm.models.engine_settings import EngineSettings
from colm.models.engines.native.tokenizer import ChatTokenizer
from colm.models.engines.native.weights import LoadedModel
from colm.models.errors import ModelUnusable
from colm.models.messages import Turn
from colm.workers.quickstart_model import quickstart_folder

_COMMON: dict[str, Any] = {
    "vocab_size": 151_936,
    "head_dim": 128,
    "num_key_value_heads": 8,
    "max_position_embeddings": 32_768,
    "tie_word_embeddings": False,
    # No token of the tokenizer: no completion ends before its length.
    "eos_token_id": 151_000,
}
#: Dense models of 8 and 32 billion weights, as they are published; and one to try the program.
SHAPES: dict[str, dict[str, Any]] = {
    "8b": _COMMON
    | {
        "hidden_size": 4096,
        "intermediate_size": 12_288,
        "num_hidden_layers": 36,
        "num_attention_heads": 32,
    },
    "32b": _COMMON
    | {
        "hidden_size": 5120,
        "intermediate_size": 25_600,
        "num_hidden_layers": 64,
        "num_attention_heads": 64,
    },
    "tiny": _COMMON
    | {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 8,
    },
}
BATCH = 64


def run_gpu(options: argparse.Namespace) -> Report:
    """Static batches, transformers' manager and ours, one after another."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu" and options.gpu != "tiny":
        raise SystemExit("torch sees no CUDA device; --gpu tiny tries the program on the CPU")
    requests = 12 if options.quick or options.gpu == "tiny" else 8 * options.requests
    batch = min(BATCH, requests)
    settings = EngineSettings(max_num_seqs=batch, kv_cache_tokens=batch * 1024, device=device)
    report = Report(
        "engine on a GPU",
        settings={
            "shape": options.gpu,
            "device": _name(device),
            "requests": requests,
            "batch": batch,
        },
    )
    makers: dict[str, Callable[[LoadedModel], Peer]] = {
        "static": lambda loaded: StaticPeer("static", loaded, batch=batch, by_length=False),
        "manager": lambda loaded: paged(loaded, settings),
        "ours": lambda loaded: ours(loaded, settings),
    }
    rates = {name: _rates(make, options, requests, device, report) for name, make in makers.items()}
    rates["vllm"] = _vllm(options, requests, batch, report) if options.vllm else []
    for name, meaning in (
        ("static", "padded batches"),
        ("manager", "transformers' batching"),
        ("vllm", "vLLM's server"),
    ):
        if rates[name] and rates["ours"]:
            report.compared(
                f"ours_vs_{name}",
                over=rates["ours"],
                under=rates[name],
                meaning=f"how much faster than {meaning}",
            )
    return report


def _rates(
    make: Callable[[LoadedModel], Peer],
    options: argparse.Namespace,
    requests: int,
    device: str,
    report: Report,
) -> list[float]:
    loaded = _made(options.gpu, device)
    try:
        peer = make(loaded)
    except ModelUnusable as error:
        report.missing("an engine", str(error))
        return []
    samples = _measured(peer, loaded.tokenizer, options, requests, report)
    if isinstance(peer, EnginePeer):
        print(f"{peer.name}: {peer.engine.stats.summary()}")
    peer.close()
    del peer, loaded
    gc.collect()
    if device == "cuda":
        most = torch.cuda.max_memory_allocated() / 2**30
        report.measured("most memory", [most], unit="GiB")
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    return samples


def _vllm(options: argparse.Namespace, requests: int, batch: int, report: Report) -> list[float]:
    config, tokenizer = Qwen3Config(**SHAPES[options.gpu]), _tokenizer()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        try:
            peer = vllm(
                options.vllm, config, tokenizer, folder, batch=batch, log=folder / "vllm.log"
            )
        except Absent as error:
            report.missing("vLLM", str(error))
            return []
        samples = _measured(peer, tokenizer, options, requests, report)
        peer.close()
    return samples


def _measured(
    peer: Peer,
    tokenizer: PreTrainedTokenizerBase,
    options: argparse.Namespace,
    requests: int,
    report: Report,
) -> list[float]:
    """Tokens per second of the same requests for every peer."""
    counter = ChatTokenizer(tokenizer)
    work = [
        mixed(requests, lambda chat: len(counter.encode(chat)), sample=n)
        for n in range(1 if options.quick else 3)
    ]
    peer.generate([Call(messages=(Turn(role="user", content="Awake?"),), tokens=8)] * 2)
    samples = [timed(partial(_work, peer, calls)) for calls in work]
    report.measured(f"mixed requests: {peer.name}", samples, unit="tokens/s")
    return samples


def _work(peer: Peer, calls: list[Call]) -> int:
    peer.generate(calls)
    return sum(call.tokens for call in calls)


def _made(shape: str, device: str) -> LoadedModel:
    torch.manual_seed(0)
    factory: Any = AutoModelForCausalLM
    with torch.device(device):
        model = factory.from_config(Qwen3Config(**SHAPES[shape]), dtype=torch.bfloat16).eval()
    model.generation_config.eos_token_id = None
    return LoadedModel(
        model=model, tokenizer=_tokenizer(), name=f"random {shape}", context_length=32_768
    )


def _tokenizer() -> PreTrainedTokenizerBase:
    folder = quickstart_folder(Path("~/.cache/colm").expanduser())
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder)
    tokenizer.eos_token = None
    return tokenizer


def _name(device: str) -> str:
    return torch.cuda.get_device_name() if device == "cuda" else device
