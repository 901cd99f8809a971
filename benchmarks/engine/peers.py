"""The engines that are compared, each behind the same call."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch

from benchmarks.engine.work import Call
from colm.models.engine_settings import EngineSettings
from colm.models.engines.base import Engine, GenerationRequest
from colm.models.engines.native.base import LocalEngine
from colm.models.engines.native.tokenizer import ChatTokenizer
from colm.models.engines.native.weights import LoadedModel
from colm.models.messages import Sampling


class Absent(Exception):
    """A peer that cannot be had here; the message says why."""


class Peer(Protocol):
    """Something that generates. `flows`: it takes calls from many threads at once."""

    name: str
    flows: bool

    def generate(self, calls: Sequence[Call]) -> list[str]: ...

    def close(self) -> None: ...


class StaticPeer:
    """transformers' `generate` on padded batches: every row runs as long as its batch's longest."""

    flows = False

    def __init__(self, name: str, loaded: LoadedModel, *, batch: int, by_length: bool) -> None:
        self.name = name
        self._model: Any = loaded.model
        self._tokenizer = ChatTokenizer(loaded.tokenizer)
        self._pad = int(loaded.tokenizer.pad_token_id or 0)
        self._batch = batch
        self._by_length = by_length

    def generate(self, calls: Sequence[Call]) -> list[str]:
        order = list(range(len(calls)))
        if self._by_length:
            order.sort(key=lambda i: calls[i].tokens)
        texts = [""] * len(calls)
        for start in range(0, len(order), self._batch):
            rows = order[start : start + self._batch]
            for row, text in zip(rows, self._together([calls[i] for i in rows]), strict=True):
                texts[row] = text
        return texts

    def _together(self, calls: Sequence[Call]) -> list[str]:
        encoded = [self._tokenizer.encode(call.messages) for call in calls]
        width = max(map(len, encoded))
        device = self._model.device
        mask = [[0] * (width - len(p)) + [1] * len(p) for p in encoded]
        longest = max(call.tokens for call in calls)
        with torch.inference_mode():
            output = self._model.generate(
                torch.tensor([[self._pad] * (width - len(p)) + p for p in encoded], device=device),
                attention_mask=torch.tensor(mask, device=device),
                do_sample=False,
                max_new_tokens=longest,
                min_new_tokens=longest,
            )
        rows = zip(output.tolist(), calls, strict=True)
        return [self._tokenizer.decode(row[width:][: call.tokens]) for row, call in rows]

    def close(self) -> None:
        del self._model


class EnginePeer:
    """One of our engines, asked as a worker asks it."""

    flows = True

    def __init__(self, name: str, engine: Engine) -> None:
        self.name = name
        self.engine = engine
        self._numbers = count()

    def generate(self, calls: Sequence[Call]) -> list[str]:
        futures = [self.engine.submit(self._request(call)) for call in calls]
        completions = [future.result() for future in futures]
        for call, completion in zip(calls, completions, strict=True):
            assert completion.completion_tokens == call.tokens, completion
        return [completion.text for completion in completions]

    def _request(self, call: Call) -> GenerationRequest:
        return GenerationRequest(
            request_id=f"b{next(self._numbers)}",
            messages=call.messages,
            sampling=Sampling(max_new_tokens=call.tokens, temperature=0.0),
            conversation=call.conversation,
        )

    def close(self) -> None:
        self.engine.close()


L = TypeVar("L", bound=LocalEngine)


def endless(engine: L) -> L:
    """Let no turn end by the token of its template: the weights' config does not decide that."""
    engine._tokenizer.ends = frozenset()
    return engine


def ours(loaded: LoadedModel, settings: EngineSettings, name: str = "ours") -> EnginePeer:
    from colm.models.engines.native.engine import ContinuousEngine

    return EnginePeer(name, endless(ContinuousEngine(loaded, settings)))


def paged(loaded: LoadedModel, settings: EngineSettings) -> EnginePeer:
    from colm.models.engines.libraries.paged import PagedEngine

    return EnginePeer("paged (transformers' manager)", endless(PagedEngine(loaded, settings)))


def openvino(folder: Path, settings: EngineSettings) -> EnginePeer:
    try:
        from colm.models.engines.libraries.openvino import OpenVINOEngine
    except ImportError as error:
        raise Absent(f"the extra 'openvino' is not installed ({error})") from error
    kind = settings.model_copy(update={"kind": "openvino", "model": str(folder)})
    return EnginePeer("OpenVINO GenAI", OpenVINOEngine(kind))


def timed(work: Callable[[], int]) -> float:
    """Completion tokens per second of `work`, which says how many it generated."""
    started = time.perf_counter()
    tokens = work()
    return tokens / (time.perf_counter() - started)
