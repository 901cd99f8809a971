"""llama.cpp's server as a peer: its own HTTP interface, 8 slots, the same weights in 16 bits."""

from __future__ import annotations

import importlib
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import gguf
import httpx
import numpy
from safetensors.numpy import load_file
from transformers import AutoConfig

from benchmarks.engine.peers import Absent
from benchmarks.engine.work import Call
from colm.models.engines.native.tokenizer import ChatTokenizer

SLOTS = 8
#: Seconds until it must be ready.
READY_WITHIN = 60.0


class LlamaPeer:
    """Prompts are sent as tokens, so that both sides read the same."""

    flows = True

    def __init__(self, url: str, name: str, tokenizer: ChatTokenizer, stop: Callable[[], None]):
        self.name = name
        self._tokenizer = tokenizer
        self._stop = stop
        self._http = httpx.Client(base_url=url, timeout=600.0, trust_env=False)
        self._threads = ThreadPoolExecutor(64)

    def generate(self, calls: Sequence[Call]) -> list[str]:
        return list(self._threads.map(self._one, calls))

    def _one(self, call: Call) -> str:
        answer = self._http.post(
            "/completion",
            json={
                "prompt": self._tokenizer.encode(call.messages),
                "n_predict": call.tokens,
                "ignore_eos": True,
                "temperature": 0.0,
                "cache_prompt": True,
            },
        )
        answer.raise_for_status()
        reply = answer.json()
        assert reply["tokens_predicted"] == call.tokens, reply["tokens_predicted"]
        return str(reply["content"])

    def close(self) -> None:
        self._threads.shutdown()
        self._http.close()
        self._stop()


def llama(
    folder: Path, scratch: Path, tokenizer: ChatTokenizer, *, program: str | None, threads: int
) -> LlamaPeer:
    """A running server: `program`, or llama-server on the PATH, or the package xllamacpp."""
    executable = program or shutil.which("llama-server")
    model = scratch / "model-f16.gguf"
    if executable is not None:
        write_gguf(folder, model)
        return _executable(executable, model, tokenizer, threads)
    try:
        xllamacpp = importlib.import_module("xllamacpp")
    except ImportError as error:
        raise Absent("no llama-server on the PATH, and xllamacpp is not installed") from error
    write_gguf(folder, model)
    return _package(xllamacpp, model, tokenizer, threads)


def _executable(program: str, model: Path, tokenizer: ChatTokenizer, threads: int) -> LlamaPeer:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # --poll 0: threads that wait by spinning take shared cores from each other.
    command = [
        program, "-m", str(model), "--port", str(port), "-np", str(SLOTS), "-c", str(SLOTS * 2048),
        "-t", str(threads), "-tb", str(threads), "--poll", "0", "--no-webui",
    ]  # fmt: skip
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + READY_WITHIN
    while not _healthy(url):
        if server.poll() is not None or time.monotonic() > deadline:
            server.kill()
            raise Absent(f"{program} does not start ({server.poll()})")
        time.sleep(0.2)
    return LlamaPeer(url, "llama.cpp server (F16)", tokenizer, server.kill)


def _package(package: Any, model: Path, tokenizer: ChatTokenizer, threads: int) -> LlamaPeer:
    settings = package.CommonParams()
    settings.model.path = str(model)
    settings.n_parallel, settings.n_ctx = SLOTS, SLOTS * 2048
    for cpu in (settings.cpuparams, settings.cpuparams_batch):
        cpu.n_threads, cpu.poll = threads, 0
    held = [package.Server(settings)]
    url = held[0].listening_address
    return LlamaPeer(url, "llama.cpp server (F16, xllamacpp)", tokenizer, held.clear)


def _healthy(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def write_gguf(folder: Path, path: Path) -> None:
    """The Llama model of a transformers folder as a GGUF file in 16 bits."""
    config: Any = AutoConfig.from_pretrained(folder)
    writer = gguf.GGUFWriter(path, "llama")
    heads, groups = config.num_attention_heads, config.num_key_value_heads
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(heads)
    writer.add_head_count_kv(groups)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_rope_dimension_count(config.hidden_size // heads)
    writer.add_vocab_size(config.vocab_size)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    _write_vocabulary(writer, folder)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, values in _tensors(folder).items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        for part, rows in (("q_proj", heads), ("k_proj", groups)):
            if part in name:
                values = _permuted(values, rows)
        target = names.get_name(name, try_suffixes=(".weight",))
        assert target is not None, name
        writer.add_tensor(target, values.astype("float32" if values.ndim == 1 else "float16"))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _tensors(folder: Path) -> dict[str, Any]:
    import torch
    from safetensors.torch import load_file as load_torch

    tensors: dict[str, Any] = {}
    for file in sorted(folder.glob("*.safetensors")):
        try:
            tensors |= load_file(file)
        except TypeError:  # numpy has no bfloat16
            tensors |= {k: v.to(torch.float32).numpy() for k, v in load_torch(file).items()}
    return tensors


def _permuted(weights: Any, heads: int) -> Any:
    """llama.cpp pairs neighbours in its rotary embedding, transformers halves."""
    rows, *rest = weights.shape
    halves = weights.reshape(heads, 2, rows // heads // 2, *rest)
    return numpy.ascontiguousarray(halves.swapaxes(1, 2).reshape(weights.shape))


def _write_vocabulary(writer: Any, folder: Path) -> None:
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"] | {
        t["content"]: t["id"] for t in tokenizer["added_tokens"]
    }
    special = {token["content"] for token in tokenizer["added_tokens"]}
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    merges = tokenizer["model"]["merges"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types(
        [gguf.TokenType.CONTROL if t in special else gguf.TokenType.NORMAL for t in tokens]
    )
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in merges])
    writer.add_eos_token_id(2)
    writer.add_bos_token_id(1)
