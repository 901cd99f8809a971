"""The overhead of CoLM over its broker and database.

Engines that answer at once, a process for each client, a server, a coordinator, RabbitMQ, and
PostgreSQL with fsync. Asks and the floor (floor.py) are timed in turn: load of the machine hits
both.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from benchmarks.harness.report import Report, parser
from benchmarks.harness.site import THREADS, running_site, service_versions
from benchmarks.harness.stats import milliseconds
from benchmarks.pipeline.floor import Work, floor_on
from benchmarks.pipeline.overhead_runs import Plan, Samples, ask_once, count_work, measure

FULL = Plan(asks=500, bursts=10, burst_size=100, phase_seconds=180)
#: Ends within 50 seconds on a busy machine too.
QUICK = Plan(asks=60, bursts=3, burst_size=40, phase_seconds=12)


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    plan = _plan(options)
    site = running_site(
        clients=options.clients,
        broker=options.broker,
        database=options.database,
        grouped=options.grouped,
    )
    with site as stack:
        config = stack.settings
        whole, critical = count_work(config.database_url, ask_once().query_id)
        with floor_on(config.broker_url, config.database_url) as floor:
            samples = measure(plan, stack, floor, whole, critical)
        versions = service_versions(config)
    report = Report("overhead", settings=_settings(options, plan, whole, critical))
    report.machine.update(versions)
    fill(report, samples, whole, critical)
    report.publish(options.json)


def _parser() -> argparse.ArgumentParser:
    options = parser(__doc__, services=True)
    options.add_argument("--clients", type=int, default=3, help="default: 3")
    options.add_argument("--grouped", action="store_true", help="all clients in one process")
    options.add_argument("--asks", type=int, help="how many, one by one")
    options.add_argument("--bursts", type=int, help="how many, one by one")
    options.add_argument("--burst-size", type=int, help="queries in flight at once")
    return options


def _plan(options: argparse.Namespace) -> Plan:
    sizes = {"asks": options.asks, "bursts": options.bursts, "burst_size": options.burst_size}
    plan = QUICK if options.quick else FULL
    return plan._replace(**{name: value for name, value in sizes.items() if value is not None})


def _settings(
    options: argparse.Namespace, plan: Plan, whole: Work, critical: Work
) -> dict[str, Any]:
    return {
        "quick": options.quick,
        "strategy": "colm",
        "rounds": 1,
        "clients": options.clients,
        "client_processes": 1 if options.grouped else options.clients,
        "threads": THREADS,
        "burst_size": plan.burst_size,
        "hops": whole.hops,
        "commits": whole.commits,
        "critical_hops": critical.hops,
        "critical_commits": critical.commits,
    }


def fill(report: Report, samples: Samples, whole: Work, critical: Work) -> None:
    """Adds the rows and ratios of one run."""
    asks = milliseconds(samples.asks)
    all_of_it = milliseconds([spent.total for spent in samples.floor])
    chain = milliseconds([spent.total for spent in samples.critical])
    hop = [spent.hopping / whole.hops for spent in samples.floor]
    commit = [spent.committing / whole.commits for spent in samples.floor]

    report.measured("ask to answer", asks, unit="ms")
    report.measured("of it, accepted to decided", milliseconds(samples.recorded), unit="ms")
    report.measured(f"floor: {whole}", all_of_it, unit="ms")
    report.measured(f"critical floor: {critical}", chain, unit="ms")
    report.measured("one hop", milliseconds(hop), unit="ms")
    report.measured("one commit", milliseconds(commit), unit="ms")
    report.measured("in bursts", samples.rates, unit="queries/s")
    report.measured("in bursts, processor time", milliseconds(samples.computed), unit="ms/query")

    report.compared(
        "ask_vs_floor",
        over=asks,
        under=all_of_it,
        meaning="ask to answer, to all hops and commits one after another; aim below 3",
    )
    report.compared(
        "ask_vs_critical_floor",
        over=asks,
        under=chain,
        meaning="ask to answer, to the longest chain of them alone",
    )
    report.compared(
        "burst_query_vs_floor",
        over=milliseconds([1 / rate for rate in samples.rates]),
        under=all_of_it,
        meaning="time per query in a burst, to all hops and commits one after another",
    )


if __name__ == "__main__":
    main()
