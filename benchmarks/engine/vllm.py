"""vLLM's server as a peer on the GPU: the same shape, random weights of its own, prompts as tokens.

It lives in an environment of its own, as it pins other versions than ours: `--vllm` names its
program.
"""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
from transformers import PreTrainedConfig, PreTrainedTokenizerBase

from benchmarks.engine.peers import Absent
from benchmarks.engine.work import Call
from colm.models.engines.native.tokenizer import ChatTokenizer

#: Seconds until it must be ready: it compiles, and captures graphs.
READY_WITHIN = 420.0
NAME = "random"


class VllmPeer:
    """Greedy completions of fixed length over its OpenAI-compatible interface."""

    flows = True

    def __init__(
        self,
        url: str,
        tokenizer: ChatTokenizer,
        *,
        model: str = NAME,
        stop: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = "vLLM server"
        self._model = model
        self._tokenizer = tokenizer
        self._stop = stop
        self._http = httpx.Client(base_url=url, timeout=600.0, trust_env=False)
        self._threads = ThreadPoolExecutor(256)

    def generate(self, calls: Sequence[Call]) -> list[str]:
        return list(self._threads.map(self._one, calls))

    def _one(self, call: Call) -> str:
        answer = self._http.post(
            "/v1/completions",
            json={
                "model": self._model,
                "prompt": self._tokenizer.encode(call.messages),
                "max_tokens": call.tokens,
                "ignore_eos": True,
                "temperature": 0.0,
            },
        )
        answer.raise_for_status()
        reply = answer.json()
        made = reply["usage"]["completion_tokens"]
        assert made == call.tokens, made
        return str(reply["choices"][0]["text"])

    def close(self) -> None:
        self._threads.shutdown()
        self._http.close()
        self._stop()


def vllm(
    program: str,
    config: PreTrainedConfig,
    tokenizer: PreTrainedTokenizerBase,
    scratch: Path,
    *,
    batch: int,
    log: Path,
) -> VllmPeer:
    """A running server; Absent where it does not start. Its log says why."""
    config.architectures = ["Qwen3ForCausalLM"]
    config.save_pretrained(scratch)
    tokenizer.save_pretrained(scratch)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        program, "serve", str(scratch), "--served-model-name", NAME, "--load-format", "dummy",
        "--dtype", "bfloat16", "--max-num-seqs", str(batch), "--max-model-len", "8192",
        "--host", "127.0.0.1", "--port", str(port),
    ]  # fmt: skip
    try:
        with log.open("wb") as output:
            server = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    except OSError as error:
        raise Absent(f"{program} cannot be run: {error}") from error
    url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + READY_WITHIN
    while not _healthy(url):
        if server.poll() is not None or time.monotonic() > deadline:
            server.kill()
            raise Absent(f"{program} does not start ({server.poll()}); see {log}")
        time.sleep(1.0)

    def stop() -> None:
        server.terminate()
        server.wait(60.0)

    return VllmPeer(url, ChatTokenizer(tokenizer), stop=stop)


def _healthy(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False
