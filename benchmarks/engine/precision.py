"""The cost of bfloat16 and int8 against float32 on this processor.

    python -m benchmarks.engine.precision [--quick] [--json PATH]

One layer of a small model (1,024 by 4,096 weights) times as many rows as a batch or prompt has
tokens, in each precision in turn. CPU time, which neighbours hardly change. int8 is the engine's
own layer, which also quantizes its inputs.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.harness.report import Report, parser, progress
from colm.models.engines.native.int8 import Int8Linear
from colm.models.engines.native.precision import processor_has_bfloat16

ROWS = (1, 8, 64)
WIDE, DEEP = 1024, 4096
Layer = Callable[[Tensor], Tensor]


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--threads", type=int, default=1)
    arguments.add_argument("--repeats", type=int, help="products of each kind; default: 9, or 3")
    options = arguments.parse_args()
    measure(options).publish(options.json)


def measure(options: argparse.Namespace) -> Report:
    torch.set_num_threads(options.threads)
    repeats = options.repeats or (3 if options.quick else 9)
    report = Report(
        "precision",
        settings={
            "layer": f"{WIDE} x {DEEP}", "threads": options.threads, "repeats": repeats,
            "processor_has_bfloat16": processor_has_bfloat16(),
        },
    )  # fmt: skip
    layers = _layers()
    with progress() as bar, torch.inference_mode():
        for rows in bar.track(ROWS, description="multiplying"):
            _compare(report, layers, rows, repeats)
    return report


def _layers() -> dict[str, tuple[Layer, torch.dtype]]:
    """The same layer in each precision, with the dtype of its inputs."""
    torch.manual_seed(0)
    exact = nn.Linear(WIDE, DEEP, bias=False)
    half = nn.Linear(WIDE, DEEP, bias=False, dtype=torch.bfloat16)
    return {
        "float32": (exact, torch.float32),
        "bfloat16": (half, torch.bfloat16),
        "int8": (Int8Linear(exact), torch.float32),
    }


def _compare(
    report: Report, layers: dict[str, tuple[Layer, torch.dtype]], rows: int, repeats: int
) -> None:
    taken: dict[str, list[float]] = {name: [] for name in layers}
    for _ in range(repeats):
        for name, (layer, dtype) in layers.items():
            taken[name].append(_milliseconds(layer, torch.randn(rows, WIDE, dtype=dtype)))
    for name, samples in taken.items():
        report.measured(f"{rows} rows, {name}", samples, unit="ms")
    for name in ("bfloat16", "int8"):
        report.compared(
            f"{name}_vs_float32_{rows}",
            over=taken[name],
            under=taken["float32"],
            meaning=f"the time of {name} over that of float32, {rows} rows",
        )


def _milliseconds(layer: Layer, inputs: Tensor) -> float:
    """CPU time of one product, after one that is not counted."""
    layer(inputs)
    start = time.process_time()
    layer(inputs)
    return (time.process_time() - start) * 1000


if __name__ == "__main__":
    main()
