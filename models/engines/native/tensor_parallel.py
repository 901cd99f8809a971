"""Tensor parallelism: one model over several devices, each with a part of every layer.

The engine lives in one process, the leader. Followers, one process for each further device, hold
their part of the weights and of the KV cache, and repeat every operation of the leader's runner in
the same order; transformers' own plan for the model says how layers are cut and where the parts are
summed. Only the leader draws tokens. When one process dies, the operation in hand fails in all of
them: the engine is lost, and its process must be started again.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import socket
import weakref
from collections.abc import Mapping, Sequence
from datetime import timedelta
from itertools import count
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from colm.models.engine_settings import EngineSettings
from colm.models.engines.native.decoding import FAULTS, DeviceLost
from colm.models.engines.native.kv_cache import CacheShape, RowKV
from colm.models.engines.native.model_runner import Runner
from colm.models.engines.native.weights import LoadedModel, load
from colm.models.errors import ModelUnusable

log = logging.getLogger(__name__)

#: How long the processes may take to find each other: weights are read before the first operation.
MEET_WITHIN = timedelta(minutes=10)
#: How long followers wait for the next operation: as long as nobody asks anything.
FOR_EVER = timedelta(days=365)

_GONE = "a process of the tensor-parallel engine is gone"

Operation = tuple[str, tuple[Any, ...], list[int]]


class LeadingRunner(Runner):
    """A runner whose every operation is told to the followers first."""

    def __init__(self, loaded: LoadedModel, *, max_tokens: int) -> None:
        self._leads = False
        self._control: Any = dist.new_group(backend="gloo", timeout=FOR_EVER)
        self._numbers = count()
        self._kept: weakref.WeakKeyDictionary[RowKV, int] = weakref.WeakKeyDictionary()
        self._dropped: list[int] = []
        super().__init__(loaded, max_tokens=max_tokens)  # the followers try theirs out themselves
        self._leads = True

    def reserve(self, need: CacheShape, *, rows: int) -> None:
        self._tell("reserve", need, rows)
        super().reserve(need, rows=rows)

    def prefill(
        self, row: int, tokens: Sequence[int], start: int, features: Tensor | None = None
    ) -> Tensor:
        self._tell("prefill", row, list(tokens), start, features)
        return super().prefill(row, tokens, start, features)

    def see(self, pixels: Mapping[str, Tensor]) -> Tensor:
        self._tell("see", dict(pixels))
        return super().see(pixels)

    def decode(
        self, tokens: Sequence[list[int]], starts: Sequence[int], *, first: int = 0
    ) -> Tensor:
        self._tell("decode", list(tokens), list(starts), first)
        return super().decode(tokens, starts, first=first)

    def move(self, source: int, target: int, length: int) -> None:
        self._tell("move", source, target, length)
        super().move(source, target, length)

    def copy_out(self, row: int, length: int) -> RowKV:
        number = next(self._numbers)
        self._tell("copy_out", number, row, length)
        kv = super().copy_out(row, length)
        self._kept[kv] = number
        weakref.finalize(kv, self._dropped.append, number)
        return kv

    def copy_in(self, row: int, kv: RowKV, length: int) -> None:
        self._tell("copy_in", row, self._kept[kv], length)
        super().copy_in(row, kv, length)

    def blank(self, row: int) -> None:
        self._tell("blank", row)
        super().blank(row)

    def release(self) -> None:
        self._tell("release")
        super().release()

    def stop(self) -> None:
        """Let the followers end."""
        self._tell("stop")

    def _forward(
        self,
        tokens: list[list[int]],
        *,
        first: int,
        starts: list[int],
        keep: int,
        features: Tensor | None = None,
    ) -> Tensor:
        try:
            return super()._forward(
                tokens, first=first, starts=starts, keep=keep, features=features
            )
        except RuntimeError as error:
            if len(multiprocessing.active_children()) < dist.get_world_size() - 1:
                raise DeviceLost(f"{_GONE}: {error}") from error
            raise

    def _tell(self, name: str, *arguments: Any) -> None:
        if not self._leads:
            return
        dropped = [self._dropped.pop() for _ in range(len(self._dropped))]
        try:
            dist.broadcast_object_list([(name, arguments, dropped)], src=0, group=self._control)
        except RuntimeError as error:
            raise DeviceLost(f"{_GONE}: {error}") from error


class Follower:
    """Repeats what the leader does, until it says stop or is gone."""

    def __init__(self, loaded: LoadedModel, *, max_tokens: int) -> None:
        self._control: Any = dist.new_group(backend="gloo", timeout=FOR_EVER)
        self._runner = Runner(loaded, max_tokens=max_tokens)
        self._kept: dict[int, RowKV] = {}

    def run(self) -> None:
        while (operation := self._next())[0] != "stop":
            try:
                self._repeat(operation)
            except FAULTS as error:  # the leader has the same, and fails the request
                log.warning("%s failed: %s", operation[0], error)

    def _next(self) -> Operation:
        received: list[Any] = [None]
        dist.broadcast_object_list(received, src=0, group=self._control)
        operation: Operation = received[0]
        return operation

    def _repeat(self, operation: Operation) -> None:
        name, arguments, dropped = operation
        for number in dropped:
            self._kept.pop(number, None)
        match name, arguments:
            case "reserve", (need, rows):
                self._runner.reserve(need, rows=rows)
            case "decode", (tokens, starts, first):
                self._runner.decode(tokens, starts, first=first)
            case "copy_out", (number, row, length):
                self._kept[number] = self._runner.copy_out(row, length)
            case "copy_in", (row, number, length):
                self._runner.copy_in(row, self._kept[number], length)
            case _:
                getattr(self._runner, name)(*arguments)


def load_parallel(settings: EngineSettings, *, model_path: str | None = None) -> LoadedModel:
    """Start the followers and load this process's part of the model. Raises ModelUnusable."""
    _check(settings)
    port = _free_port()
    spawn = multiprocessing.get_context("spawn")
    for rank in range(1, settings.tensor_parallel):
        spawn.Process(
            target=follow, args=(settings, model_path, rank, port), name=f"tp-{rank}", daemon=True
        ).start()
    return _join(settings, model_path, 0, port)


def follow(settings: EngineSettings, model_path: str | None, rank: int, port: int) -> None:
    """A follower's whole life, in a process of its own."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the leader's, which finishes first
    os.environ["LOCAL_RANK"] = str(rank)  # noqa: TID251 - transformers chooses the device by it
    loaded = _join(settings, model_path, rank, port)
    follower = Follower(loaded, max_tokens=settings.kv_cache_tokens)
    try:
        follower.run()
    except RuntimeError as error:  # the leader is gone, and so is the engine
        log.warning("the tensor-parallel engine has ended: %s", error)


def _join(settings: EngineSettings, model_path: str | None, rank: int, port: int) -> LoadedModel:
    cuda = torch.cuda.is_available() and settings.device != "cpu"
    dist.init_process_group(
        "cuda:nccl,cpu:gloo" if cuda else "gloo",
        init_method=f"tcp://127.0.0.1:{port}",
        rank=rank,
        world_size=settings.tensor_parallel,
        timeout=MEET_WITHIN,
    )
    device = f"cuda:{rank}" if cuda else "cpu"
    part = EngineSettings.model_validate(settings.model_dump() | {"device": device})
    return load(part, model_path=model_path)


def _check(settings: EngineSettings) -> None:
    parts, there = settings.tensor_parallel, torch.cuda.device_count()
    if settings.device not in ("auto", "cuda", "cpu"):
        raise ModelUnusable(
            f"tensor_parallel = {parts} takes the first {parts} devices: leave device out, and"
            " choose them with CUDA_VISIBLE_DEVICES"
        )
    if settings.device != "cpu" and torch.cuda.is_available() and there < parts:
        raise ModelUnusable(f"tensor_parallel = {parts}, but torch sees {there} CUDA devices")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
