"""The cost of a second thread pool: why models are loaded without one.

    python -m benchmarks.engine.pools [--quick] [--json PATH]

A thread multiplies matrices as a model does, in a process whose main thread has a thread pool from
an earlier multiplication, and in a process without one.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import threading
import time

import torch
from torch.nn import functional

from benchmarks.harness.report import Report, parser, progress

ROWS, WIDE, DEEP, LAYERS = 16, 1024, 4096, 24
#: The child process: arguments pool and threads; prints milliseconds, one a line.
CHILD = "from benchmarks.engine.pools import child; child()"


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    arguments.add_argument("--repeats", type=int, help="processes of each kind; default: 5, or 2")
    options = arguments.parse_args()
    measure(options).publish(options.json)


def measure(options: argparse.Namespace) -> Report:
    repeats = options.repeats or (2 if options.quick else 5)
    report = Report(
        "pools",
        settings={
            "layers": f"{LAYERS} of {WIDE} x {DEEP}", "rows": ROWS, "threads": options.threads,
            "processes": repeats,
        },
    )  # fmt: skip
    taken: dict[str, list[float]] = {"only": [], "second": []}
    with progress() as bar:
        for _ in bar.track(range(repeats), description="multiplying"):
            for name, samples in taken.items():
                samples.append(_median_of_a_child(name, options.threads))
    report.measured("in the only pool", taken["only"], unit="ms")
    report.measured("in the second pool", taken["second"], unit="ms")
    report.compared(
        "second_vs_only",
        over=taken["second"],
        under=taken["only"],
        meaning="the time of a pass in a process's second pool over that in its only one",
    )
    return report


def _median_of_a_child(pool: str, threads: int) -> float:
    child_run = subprocess.run(
        [sys.executable, "-c", CHILD, pool, str(threads)],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    samples = sorted(map(float, child_run.stdout.split()))
    return samples[len(samples) // 2]


def child() -> None:
    """Prints the milliseconds of each pass."""
    pool, threads = sys.argv[1], int(sys.argv[2])
    torch.set_num_threads(threads)
    weights = [torch.randn(DEEP, WIDE) for _ in range(LAYERS)]
    rows = torch.randn(ROWS, WIDE)
    if pool == "second":
        _pass(rows, weights)
    later = threading.Thread(target=_passes, args=(rows, weights))
    later.start()
    later.join()


def _passes(rows: torch.Tensor, weights: list[torch.Tensor]) -> None:
    _pass(rows, weights)
    for _ in range(15):
        start = time.perf_counter()
        _pass(rows, weights)
        print((time.perf_counter() - start) * 1000)


def _pass(rows: torch.Tensor, weights: list[torch.Tensor]) -> None:
    with torch.inference_mode():
        for weight in weights:
            functional.silu(functional.linear(rows, weight)).abs_().sum()


if __name__ == "__main__":
    main()
