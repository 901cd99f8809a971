"""The cost of queue and record for a busy engine.

Equal requests, always more than the engine's capacity: straight into an engine from as many threads
as it has places, and through RabbitMQ, a coordinator, a client's worker with an equal engine, and
PostgreSQL with fsync. In turn: load of the machine hits both.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import machine
from benchmarks.harness.endless_weights import endless_weights
from benchmarks.harness.report import Report, parser
from benchmarks.harness.site import THREADS, running, service_versions
from benchmarks.harness.stats import milliseconds
from benchmarks.pipeline.queue_tax_runs import GIVE_UP, Plan, Samples, loading, measure
from colm.models.engine_settings import EngineSettings
from colm.models.engines.native.precision import cpu_dtype

CLIENT = "ada"
FULL = Plan(repeats=7, requests=64, tokens=64, seconds=900)
QUICK = Plan(repeats=2, requests=12, tokens=16, seconds=4)


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    before = machine.describe()
    plan = _plan(options)
    with endless_weights() as folder, loading(engine_settings(folder, options)) as engine:
        site = running(site_file(folder, options), broker=options.broker, database=options.database)
        with site as stack:
            client = stack.settings.roster.clients[CLIENT]
            samples = measure(plan, stack, engine.result(), client)
            versions = service_versions(stack.settings)
    report = Report("queue_tax", settings=_settings(options, plan), machine=before)
    report.machine.update(versions)
    fill(report, samples)
    report.publish(options.json)


def _parser() -> argparse.ArgumentParser:
    options = parser(__doc__, services=True)
    options.add_argument("--requests", type=int, help="at once, in each repeat")
    options.add_argument("--tokens", type=int, help="that each request generates")
    options.add_argument("--repeats", type=int)
    options.add_argument("--batch", type=int, default=8, help="requests that generate together")
    options.add_argument(
        "--threads",
        type=int,
        default=max(1, (os.cpu_count() or 1) // 2),
        help="CPU threads of either engine; default: half of the cores, the rest is the queue's",
    )
    options.add_argument("--dtype", default="auto", help="of either engine; default: the device's")
    return options


def _plan(options: argparse.Namespace) -> Plan:
    plan = QUICK if options.quick else FULL
    sizes = {name: getattr(options, name) for name in ("requests", "tokens", "repeats")}
    return plan._replace(**{name: value for name, value in sizes.items() if value is not None})


def _settings(options: argparse.Namespace, plan: Plan) -> dict[str, Any]:
    return {
        "quick": options.quick,
        "requests": plan.requests,
        "tokens_each": plan.tokens,
        "tokens_a_repeat": plan.requests * plan.tokens,
        "batch": options.batch,
        "engine_threads": options.threads,
        "dtype": cpu_dtype(options.dtype),
    }


def site_file(folder: Path, options: argparse.Namespace) -> str:
    """The colm.toml of a site with one client, which has the measured engine."""
    return f"""
coordinator_threads = {THREADS}
[deadlines]
draft = {GIVE_UP}
query = {GIVE_UP}
[servers]
[clients.{CLIENT}]
persona = "You are a careful mathematician who checks every step."
[clients.{CLIENT}.engine]
model = "{folder}"
dtype = "{options.dtype}"
threads = {options.threads}
max_num_seqs = {options.batch}
"""


def engine_settings(folder: Path, options: argparse.Namespace) -> EngineSettings:
    """The same engine for this process."""
    return EngineSettings(
        model=str(folder), dtype=options.dtype, threads=options.threads, max_num_seqs=options.batch
    )


def fill(report: Report, samples: Samples) -> None:
    """Adds the rows and the ratio of one run."""
    report.measured("direct", samples.direct, unit="tokens/s")
    report.measured("queued", samples.queued, unit="tokens/s")
    report.measured(
        "direct, processor time", milliseconds(samples.direct_computed), unit="ms/request"
    )
    report.measured(
        "queued, processor time", milliseconds(samples.queued_computed), unit="ms/request"
    )
    report.measured("queued, flushes to disk", samples.flushes, unit="/request")
    report.measured("queued, flush rate", samples.flush_rates, unit="flushes/s")
    report.compared(
        "queued_vs_direct",
        over=[q / d for q, d in zip(samples.queued, samples.direct, strict=True)],
        under=[1.0],
        meaning="tokens per second through the queue, to straight into the engine, repeat by"
        " repeat; aim 0.95",
    )


if __name__ == "__main__":
    main()
