"""What is lost when something dies: every fault of tests/chaos, on a site that is at work.

Real processes, RabbitMQ and PostgreSQL (with fsync); two coordinators, a server, two clients in
three processes; scripted engines that take their time. A wave of queries is asked for each
injection; when it has come to the stage, the fault happens, is held, and is lifted.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.harness import machine
from benchmarks.harness.report import progress
from tests.chaos.campaign import Broken, Campaign, cases
from tests.chaos.faults import FAULTS, Fault
from tests.chaos.matrix import Row

#: More than 200, so that at least 200 are in flight when the first have ended.
FULL, QUICK = 240, 40
#: What --quick injects, at the first stage of each.
QUICK_FAULTS = ("kill one of two coordinators", "kill the server", "kill the broker")

#: Of the table in a file or a pipe (characters).
WIDTH = 140

Result = Row | Broken


def main(arguments: Sequence[str] | None = None) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    console = Console()
    if not console.is_terminal:  # a file has room for the names of the faults
        console = Console(width=WIDTH)
    if options.list:
        console.print("\n".join(f"{f.name} ({', '.join(f.stages)})" for f in FAULTS.values()))
        return 0
    before = machine.describe()
    count = options.queries or (QUICK if options.quick else FULL)
    names = options.faults or (QUICK_FAULTS if options.quick else ())
    try:
        absent, chosen = _possible(cases(names, 1 if options.quick else None))
    except LookupError as error:
        parser.error(str(error))
    results = _run(chosen, count)
    console.print(table(results, absent))
    for problem in problems(results):
        console.print(problem, style="red", markup=False, highlight=False)
    document = _document(results, absent, count, before)
    console.print(_machine_line(document), style="dim", highlight=False)
    if options.json is not None:
        options.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return 1 if problems(results) else 0


def _parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(
        prog="python -m tests.chaos.report",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    found.add_argument("--quick", action="store_true", help=f"three faults, {QUICK} queries each")
    found.add_argument("--faults", nargs="+", metavar="NAME", help="parts of names; see --list")
    found.add_argument("--queries", type=int, metavar="N", help=f"a wave; default: {FULL}")
    found.add_argument("--list", action="store_true", help="the faults and their stages")
    found.add_argument("--json", type=Path, metavar="PATH", help="write everything there, too")
    return found


def _possible(
    chosen: Sequence[tuple[Fault, str]],
) -> tuple[dict[str, str], list[tuple[Fault, str]]]:
    """What cannot be injected here, with the reason; and the rest."""
    reasons = {fault.name: fault.missing() for fault, _ in chosen}
    absent = {name: reason for name, reason in reasons.items() if reason is not None}
    return absent, [(fault, stage) for fault, stage in chosen if fault.name not in absent]


def _run(chosen: Sequence[tuple[Fault, str]], count: int) -> list[Result]:
    results: list[Result] = []
    with progress() as bar, Campaign() as campaign:
        task = bar.add_task("starting a site", total=len(chosen))
        running = campaign.run(chosen, count)
        for fault, stage in chosen:
            bar.update(task, description=f"{fault.name} ({stage})")
            results.append(next(running))
            bar.advance(task)
            if not bar.console.is_terminal:
                sys.stderr.write(f"{_line(results[-1])}\n")
    return results


def _line(result: Result) -> str:
    """What a log is told of one injection."""
    found = "; ".join(problems([result]))
    return found or f"{result.fault} ({result.stage}): kept; {getattr(result, 'seen', '')}"


def problems(results: Sequence[Result]) -> list[str]:
    """One line for each promise that was broken and each injection that failed."""
    found = []
    for result in results:
        where = f"{result.fault} ({result.stage})"
        if isinstance(result, Broken):
            found.append(f"{where}: {result.error}")
        elif result.problems:
            found.append(f"{where}: {json.dumps(result.problems)}")
    return found


def table(results: Sequence[Result], absent: dict[str, str]) -> Table:
    """A row for each fault: sums over its injections, the worst of its times."""
    found = Table(title="reliability", title_justify="left")
    found.add_column("fault")
    for heading in (
        "injected", "in flight", "lost", "recorded twice", "late", "tokens again", "down s",
        "recover s",
    ):  # fmt: skip
        found.add_column(heading, justify="right")
    for name in dict.fromkeys(result.fault for result in results):
        rows = [r for r in results if isinstance(r, Row) and r.fault == name]
        broken = sum(isinstance(r, Broken) and r.fault == name for r in results)
        found.add_row(name, *(_cells(rows) if rows else ()), *(["FAILED"] if broken else []))
    for name, reason in absent.items():
        found.add_row(f"{name}: not here, {reason}")
    return found


def _cells(rows: Sequence[Row]) -> list[str]:
    again, once = sum(r.tokens_again for r in rows), sum(r.tokens_once for r in rows)
    return [
        str(len(rows)),
        str(min(r.in_flight for r in rows)),
        str(sum(len(r.wrong.lost) for r in rows)),
        str(sum(r.wrong.recorded_twice for r in rows)),
        str(sum(r.late for r in rows)),
        f"{again} ({again / max(once, 1):.1%})",
        f"{max(r.down_s for r in rows):.1f}",
        f"{max(r.recover_s for r in rows):.1f}",
    ]


def _document(
    results: Sequence[Result], absent: dict[str, str], count: int, before: dict[str, Any]
) -> dict[str, Any]:
    return {
        "benchmark": "reliability",
        "queries": count,
        "rows": [asdict(result) for result in results],
        "problems": problems(results),
        "absent": absent,
        "machine": before,
    }


def _machine_line(document: dict[str, Any]) -> str:
    on = document["machine"]
    return (
        f"{document['queries']} queries a wave; {on['cpu']}, {on['cores']} cores,"
        f" {on['memory_gib']} GiB, {on['os']}, load before {on['load_before']}"
    )


if __name__ == "__main__":
    sys.exit(main())
