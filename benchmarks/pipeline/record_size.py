"""Whether a large record slows queries and `colm show`.

    python -m benchmarks.pipeline.record_size         a million steps, PostgreSQL and SQLite
    python -m benchmarks.pipeline.record_size --steps 100000 --only postgresql

Whole queries go through the record, without broker or engines, in turn on an empty database and on
one filled with ended queries. Then the plans of all statements are checked: exit status 1 for a
table scan.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, event, select, text

from benchmarks.harness.report import Report, parser, progress
from benchmarks.pipeline.record_size_fill import (
    STEPS_A_QUERY,
    a_query,
    chain_costs,
    fill,
    moves,
    outcome_of,
    query_name,
)
from colm.db.audit.verify_all import check_query
from colm.db.connection import connect
from colm.db.integrity.signatures import Trust
from colm.db.reads.answers import answer_of, has_ended, recent_queries
from colm.db.reads.history import query_history
from colm.db.record.store import SqlRecord
from colm.db.schema import migrate
from colm.db.schema.tables import metadata
from colm.workers.audit import keys
from tests.provision import PostgresServer
from tests.provision.databases import Databases

QUICK_STEPS, FULL_STEPS = 7_000, 1_000_000
#: A scan of fewer rows is as fast as an index.
FEW = 1_000
Samples = dict[str, list[float]]
Statement = tuple[str, Any]


def ask(engine: Engine, query_id: str) -> Iterator[tuple[str, float]]:
    """Records one query as coordinators do; yields the time of each part (ms)."""
    record, now = SqlRecord(engine), datetime.now(UTC)
    query = a_query(query_id, now)
    began = time.perf_counter()
    for answered, move in moves(query, now):
        if not answered:
            with record.begin(query) as life:
                life.apply(move, now)
            yield "begin", _since(began)
        for step in answered:
            started = time.perf_counter()
            with record.open(query_id) as life:
                life.add_outcome(step.key, outcome_of(step, datetime.now(UTC)))
                if step is answered[-1]:
                    life.apply(move, now)
            yield "one submission", _since(started)
        steps = getattr(move, "steps", ())
        record.mark_dispatched([step.step_id for step in steps], now)
    yield "whole query", _since(began)


def reads(engine: Engine, query_id: str) -> dict[str, Callable[[], object]]:
    """The reads of operators and coordinators."""
    record, trust = SqlRecord(engine), Trust(check=keys.check)
    soon = datetime.now(UTC) + timedelta(hours=1)
    return {
        "colm show": lambda: query_history(engine, query_id),
        "answer of a query": lambda: answer_of(engine, query_id),
        "has it ended": lambda: has_ended(engine, query_id),
        "colm queries": lambda: recent_queries(engine, 20),
        "due and stranded": lambda: (record.due(soon, 100), record.stranded(soon, 100)),
        "colm audit verify QUERY": lambda: check_query(engine, query_id, trust),
    }


def measure(engine: Engine, samples: Samples, turn: int, queries: int) -> None:
    for name, took in ask(engine, f"asked-{turn:08d}"):
        samples[name].append(took)
    # A random one: no query is cached more than others.
    draw = random.Random(turn)
    query_id = query_name(draw.randrange(queries)) if queries else f"asked-{turn:08d}"
    for name, read in reads(engine, query_id).items():
        started = time.perf_counter()
        read()
        samples[name].append(_since(started))


def _since(started: float) -> float:
    return (time.perf_counter() - started) * 1_000


def table_scans(engine: Engine) -> list[str]:
    """The statements that scan a whole table, with the line of the plan."""
    statements: list[Statement] = []

    def note(_1: object, _2: object, sql: str, parameters: Any, *_: object) -> None:
        if sql.startswith(("SELECT", "UPDATE")):
            statements.append((sql, parameters))

    event.listen(engine, "before_cursor_execute", note)
    list(ask(engine, "asked-explained"))
    for read in reads(engine, query_name(0)).values():
        read()
    event.remove(engine, "before_cursor_execute", note)
    explain = "EXPLAIN" if engine.dialect.name == "postgresql" else "EXPLAIN QUERY PLAN"
    scans = []
    with engine.connect() as connection:
        for sql, parameters in {(s, repr(p)): (s, p) for s, p in statements}.values():
            plan = connection.exec_driver_sql(f"{explain} {sql}", parameters)
            lines = [str(row[-1]) for row in plan]
            scans += [f"{line.strip()} in {sql}" for line in lines if _is_scan(connection, line)]
    return sorted(set(scans))


def _is_scan(connection: Connection, line: str) -> bool:
    scanned = re.search(r"Seq Scan on (\w+)", line) or re.match(r"SCAN (\w+)(?!.*INDEX)", line)
    if scanned is None or scanned[1] not in metadata.tables:
        return False
    few = select(text("1")).select_from(metadata.tables[scanned[1]]).limit(FEW)
    return len(connection.execute(few).all()) == FEW


@contextmanager
def databases(kind: str) -> Iterator[tuple[str, str]]:
    """The URLs of two migrated, durable databases."""
    if kind == "sqlite":
        with tempfile.TemporaryDirectory(prefix="colm-record-size-") as folder:
            urls = [f"sqlite:///{Path(folder) / name}.sqlite" for name in ("empty", "full")]
            for url in urls:
                migrate.upgrade(url)
            yield urls[0], urls[1]
        return
    with PostgresServer(durable=True) as server:
        made = Databases(server.url, migrate.upgrade)
        with made.migrated() as empty, made.migrated() as full:
            yield empty, full
        made.close()


def run(kind: str, steps: int, turns: int, report: Report) -> list[str]:
    queries = max(steps // STEPS_A_QUERY, 1)
    with databases(kind) as urls, progress() as bar:
        empty, full = (connect(url) for url in urls)
        filling = bar.add_task(f"filling {kind}", total=queries)
        started = time.perf_counter()
        for added in fill(full, queries):
            bar.advance(filling, added)
        report.settings = {
            **report.settings,
            f"{kind} filled in": f"{time.perf_counter() - started:.0f} s",
        }
        before: Samples = defaultdict(list)
        after: Samples = defaultdict(list)
        for turn in bar.track(range(turns), description=f"asking {kind}"):
            measure(empty, before, turn, 0)
            measure(full, after, turn, queries)
        _fill_report(report, kind, steps, before, after)
        scans = table_scans(full)
        for engine in (empty, full):
            engine.dispose()
    return scans


def _fill_report(report: Report, kind: str, steps: int, before: Samples, after: Samples) -> None:
    for name in before:
        report.measured(f"{kind}: {name}, empty", before[name], unit="ms")
        report.measured(f"{kind}: {name}, {steps:,} steps", after[name], unit="ms")
        report.compared(
            f"{kind}: {name}", over=after[name], under=before[name], meaning="full to empty"
        )


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    options = parser(__doc__)
    options.add_argument("--steps", type=int, help=f"to fill with; default: {FULL_STEPS:,}")
    options.add_argument("--turns", type=int, help="queries asked on each database")
    options.add_argument("--only", choices=("postgresql", "sqlite"))
    return options.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    options = _options(arguments)
    steps = options.steps or (QUICK_STEPS if options.quick else FULL_STEPS)
    turns = options.turns or (25 if options.quick else 200)
    kinds = [options.only] if options.only else ["postgresql", "sqlite"]
    report = Report("record_size", settings={"steps": f"{steps:,}", "turns": turns})
    costs = chain_costs(turns)
    report.measured("hashing all rows of a query, processor time", costs, unit="ms")
    scanned = [line for kind in kinds for line in run(kind, steps, turns, report)]
    report.publish(options.json)
    for line in scanned:
        print(f"TABLE SCAN: {line}")
    sys.exit(bool(scanned))


if __name__ == "__main__":
    main()
