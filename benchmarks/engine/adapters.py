"""Cost of LoRA adapters in the transformers engine: one, three in one batch, one merged.

    python -m benchmarks.engine.adapters [--quick] [--json PATH]

The quickstart model, mixed requests at once, greedy, lengths fixed, no speculative tokens. Random
adapters of rank 16 on all projections of the upper half of the layers (`--layers` for more).
Processor time of one thread, so that neighbours matter little. The plain model runs in an engine
without adapters.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import nn

from benchmarks.engine.peers import EnginePeer, endless
from benchmarks.engine.work import Call, mixed
from benchmarks.harness.endless_weights import endless_weights
from benchmarks.harness.report import Report, parser, progress
from colm.models.adapters import CONFIG_FILE, WEIGHTS_FILE
from colm.models.engine_settings import EngineSettings
from colm.models.engines.base import GenerationRequest
from colm.models.engines.native.engine import ContinuousEngine
from colm.models.engines.native.tokenizer import ChatTokenizer
from colm.models.engines.native.weights import LoadedModel, load
from colm.models.messages import Turn

BATCH, RANK, ADAPTERS = 8, 16, 3
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
PLAIN, ROWS_TOO = "plain model", "three and plain rows"
MEANINGS = {
    "one adapter": "one adapter for all rows, over the plain model",
    "three adapters": "three adapters in one batch, over the plain model",
    ROWS_TOO: "three adapters and plain rows in one batch, over the plain model",
    "merged": "one adapter added to the weights, over the plain model",
}


class AdapterPeer(EnginePeer):
    """Gives the requests its adapters in turn."""

    def __init__(self, name: str, engine: ContinuousEngine, adapters: Sequence[str | None]) -> None:
        super().__init__(name, endless(engine))
        self._adapters = adapters
        self._given = 0

    def _request(self, call: Call) -> GenerationRequest:
        self._given += 1
        adapter = self._adapters[self._given % len(self._adapters)]
        return replace(super()._request(call), adapter=adapter)


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--requests", type=int, default=16, help="mixed requests at once")
    arguments.add_argument("--repeats", type=int, default=5, help="samples of each kind")
    arguments.add_argument("--layers", type=int, default=15, help="upper layers with an adapter")
    arguments.add_argument("--dtype", default="auto", choices=("auto", "float32", "bfloat16"))
    options = arguments.parse_args()
    if options.quick:
        options.requests, options.repeats = BATCH, 3
    measure(options).publish(options.json)


def measure(options: argparse.Namespace) -> Report:
    settings = EngineSettings(
        max_num_seqs=BATCH, threads=1, device="cpu", dtype=options.dtype, num_speculative_tokens=0
    )
    report = Report(
        "engine_adapters",
        settings={
            "requests": options.requests, "repeats": options.repeats, "batch": BATCH,
            "rank": RANK, "layers": options.layers, "threads": 1,
        },
    )  # fmt: skip
    with endless_weights() as model, tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        plain = load(settings, model_path=str(model))
        report.settings = {**report.settings, "dtype": plain.dtype}
        folders = [
            write_adapter(
                Path(scratch) / f"adapter-{seed}", plain, layers=options.layers, seed=seed
            )
            for seed in range(ADAPTERS)
        ]
        counter = ChatTokenizer(plain.tokenizer)
        merged = settings.model_copy(update={"adapter": folders[0], "merge_adapter": True})
        beside = ContinuousEngine(load(settings, model_path=str(model)), settings, adapters=folders)
        alone = ContinuousEngine(load(settings, model_path=str(model)), merged)
        peers = [
            AdapterPeer(PLAIN, ContinuousEngine(plain, settings), [None]),
            AdapterPeer("one adapter", beside, folders[:1]),
            AdapterPeer("three adapters", beside, folders),
            AdapterPeer(ROWS_TOO, beside, [*folders, None]),
            AdapterPeer("merged", alone, [None]),
        ]
        if options.quick:
            del peers[3]
            report.missing(ROWS_TOO, "left out by --quick")
        for peer in peers:
            stack.enter_context(closing(peer))
        scale = 0.06 if options.quick else 0.5
        samples = [
            mixed(options.requests, lambda chat: len(counter.encode(chat)), sample=n, scale=scale)
            for n in range(options.repeats)
        ]
        _compare(report, peers, samples)
    return report


def _compare(report: Report, peers: list[AdapterPeer], samples: list[list[Call]]) -> None:
    warm = Call(messages=(Turn(role="user", content="Is everything awake?"),), tokens=2)
    rates: dict[str, list[float]] = {peer.name: [] for peer in peers}
    for peer in peers:
        peer.generate([warm] * BATCH)
    with progress() as bar:
        for sample in bar.track(samples, description="generating"):
            for peer in peers:
                rates[peer.name].append(_rate(peer, sample))
    for name, measured in rates.items():
        report.measured(name, measured, unit="tokens/s")
    for name in [name for name in MEANINGS if name in rates]:
        ratio = f"{name.replace(' ', '_')}_vs_plain"
        report.compared(ratio, over=rates[name], under=rates[PLAIN], meaning=MEANINGS[name])


def _rate(peer: AdapterPeer, calls: list[Call]) -> float:
    """Completion tokens for each second of processor time."""
    start = time.process_time()
    peer.generate(calls)
    return sum(call.tokens for call in calls) / (time.process_time() - start)


def write_adapter(folder: Path, loaded: LoadedModel, *, layers: int, seed: int) -> str:
    """A random adapter in peft's format; small, so that the texts stay sensible."""
    count = loaded.model.config.num_hidden_layers
    chosen = list(range(max(0, count - layers), count))
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, module in loaded.model.named_modules():
        if isinstance(module, nn.Linear) and _layer(name) in chosen and name.endswith(PROJECTIONS):
            for part, shape in (
                ("A", (RANK, module.in_features)),
                ("B", (module.out_features, RANK)),
            ):
                key = f"base_model.model.{name}.lora_{part}.weight"
                tensors[key] = 0.01 * torch.randn(shape, generator=generator)
    config: dict[str, Any] = {
        "peft_type": "LORA", "r": RANK, "lora_alpha": 2 * RANK, "target_modules": PROJECTIONS,
        "layers_to_transform": chosen, "layers_pattern": "layers",
    }  # fmt: skip
    folder.mkdir()
    (folder / CONFIG_FILE).write_text(json.dumps(config))
    safetensors.torch.save_file(tensors, folder / WEIGHTS_FILE)
    return str(folder)


def _layer(name: str) -> int | None:
    parts = name.split(".")
    return int(parts[parts.index("layers") + 1]) if "layers" in parts else None


if __name__ == "__main__":
    main()
