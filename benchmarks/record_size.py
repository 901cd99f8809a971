"""Whether months of recorded queries slow the ones of today: asks and `colm show` on a full record.

    python -m benchmarks.record_size                     a million steps, PostgreSQL and SQLite
    python -m benchmarks.record_size --steps 100000 --only postgresql

Two databases on one server, an empty one and one that is filled with ended queries. Whole queries
go through the record in turn on the one and on the other, without broker or engines: what else the
machine does falls on both alike. At last the plans of all statements of a query's way are looked
at: exit status 1 if one walks through a table.
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

from benchmarks.record_size_fill import (
    STEPS_A_QUERY,
    a_query,
    chain_costs,
    fill,
    moves,
    outcome_of,
    query_name,
)
from benchmarks.reporting import Report, parser, progress
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
#: To walk through a table of fewer rows is no slower than to use its index.
FEW = 1_000
Samples = dict[str, list[float]]
Statement = tuple[str, Any]


def ask(engine: Engine, query_id: str) -> Iterator[tuple[str, float]]:
    """One query through the record, as coordinators take it there; what took how long (ms)."""
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
    """What people and coordinators look at while queries go on."""
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
    # Any of those that are there, so that caches know none of them better than the others.
    draw = random.Random(turn)
    query_id = query_name(draw.randrange(queries)) if queries else f"asked-{turn:08d}"
    for name, read in reads(engine, query_id).items():
        started = time.perf_counter()
        read()
        samples[name].append(_since(started))


def _since(started: float) -> float:
    return (time.perf_counter() - started) * 1_000


def walks(engine: Engine) -> list[str]:
    """The statements of a query's way and of the reads that walk through a table, with the line."""
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
    found = []
    with engine.connect() as connection:
        for sql, parameters in {(s, repr(p)): (s, p) for s, p in statements}.values():
            plan = connection.exec_driver_sql(f"{explain} {sql}", parameters)
            lines = [str(row[-1]) for row in plan]
            found += [f"{line.strip()} in {sql}" for line in lines if _walks(connection, line)]
    return sorted(set(found))


def _walks(connection: Connection, line: str) -> bool:
    walked = re.search(r"Seq Scan on (\w+)", line) or re.match(r"SCAN (\w+)(?!.*INDEX)", line)
    if walked is None or walked[1] not in metadata.tables:
        return False
    few = select(text("1")).select_from(metadata.tables[walked[1]]).limit(FEW)
    return len(connection.execute(few).all()) == FEW


@contextmanager
def databases(kind: str) -> Iterator[tuple[str, str]]:
    """The URLs of two migrated databases, durable as a site's."""
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
        _tell(report, kind, steps, before, after)
        found = walks(full)
        for engine in (empty, full):
            engine.dispose()
    return found


def _tell(report: Report, kind: str, steps: int, before: Samples, after: Samples) -> None:
    for name in before:
        report.measured(f"{kind}: {name}, empty", before[name], unit="ms")
        report.measured(f"{kind}: {name}, {steps:,} steps", after[name], unit="ms")
        report.compared(
            f"{kind}: {name}", over=after[name], under=before[name], meaning="full to empty"
        )


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    found = parser(__doc__)
    found.add_argument("--steps", type=int, help=f"to fill with; default: {FULL_STEPS:,}")
    found.add_argument("--turns", type=int, help="queries asked on each database")
    found.add_argument("--only", choices=("postgresql", "sqlite"))
    return found.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    options = _options(arguments)
    steps = options.steps or (QUICK_STEPS if options.quick else FULL_STEPS)
    turns = options.turns or (25 if options.quick else 200)
    kinds = [options.only] if options.only else ["postgresql", "sqlite"]
    report = Report("record_size", settings={"steps": f"{steps:,}", "turns": turns})
    costs = chain_costs(turns)
    report.measured("hashing all rows of a query, processor time", costs, unit="ms")
    walked = [line for kind in kinds for line in run(kind, steps, turns, report)]
    report.publish(options.json)
    for line in walked:
        print(f"WALKS THROUGH A TABLE: {line}")
    sys.exit(bool(walked))


if __name__ == "__main__":
    main()
