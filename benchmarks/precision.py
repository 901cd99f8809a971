"""What bfloat16 costs this processor beside float32: why `dtype = "auto"` is one or the other.

    python -m benchmarks.precision [--quick] [--json PATH]

One layer of a small model (1,024 by 4,096 weights) times as many rows as a batch or a prompt has
tokens, in either precision in turn. Processor time, so that neighbours matter little.
"""

from __future__ import annotations

import argparse
import time

import torch

from benchmarks.reporting import Report, parser, progress
from models.engines.precision import processor_has_bfloat16

ROWS = (1, 8, 64)
WIDE, DEEP = 1024, 4096
KINDS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def main() -> None:
    found = parser(__doc__)
    found.add_argument("--threads", type=int, default=1)
    found.add_argument("--repeats", type=int, help="products of each kind; default: 9, or 3")
    options = found.parse_args()
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
    with progress() as bar:
        for rows in bar.track(ROWS, description="multiplying"):
            _compare(report, rows, repeats)
    return report


def _compare(report: Report, rows: int, repeats: int) -> None:
    taken: dict[str, list[float]] = {name: [] for name in KINDS}
    for _ in range(repeats):
        for name, dtype in KINDS.items():
            taken[name].append(_milliseconds(rows, dtype))
    for name, samples in taken.items():
        report.measured(f"{rows} rows, {name}", samples, unit="ms")
    report.compared(
        f"bfloat16_vs_float32_{rows}",
        over=taken["bfloat16"],
        under=taken["float32"],
        meaning=f"the time of bfloat16 over that of float32, {rows} rows",
    )


def _milliseconds(rows: int, dtype: torch.dtype) -> float:
    """Processor time of one product; the first of its kind, which prepares, is not counted."""
    left = torch.ones(rows, WIDE, dtype=dtype)
    weights = torch.ones(WIDE, DEEP, dtype=dtype)
    left[:1] @ weights
    start = time.process_time()
    left @ weights
    return (time.process_time() - start) * 1000


if __name__ == "__main__":
    main()
