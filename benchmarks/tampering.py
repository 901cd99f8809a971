"""Ways to tamper with the record by SQL, all that we could think of: does the audit find them?

    python -m benchmarks.tampering            on a private PostgreSQL and a SQLite file
    python -m benchmarks.tampering --quick    on SQLite alone

On each database the same small record is made: queries that a checkpoint covers, erased, purged and
uncovered ones. Each tampering is done to it without triggers and foreign keys, the whole record is
verified, and the record is restored. Exit status 1 if a promised finding is missing.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path

from rich.console import Console
from rich.table import Table
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from benchmarks.reporting import progress
from benchmarks.tampering_work import (
    CHECKPOINTED,
    ERASED,
    FRESH,
    OTHER,
    PURGED,
    Tampering,
    all_tamperings,
    behind_our_back,
    restore,
    snapshot,
)
from colm.db.audit.checkpoints import write_checkpoint
from colm.db.audit.erase import erase
from colm.db.audit.purge import purge
from colm.db.audit.verify_all import AuditResult, check_everything
from colm.db.connection import connect
from colm.db.integrity.signatures import Trust
from colm.db.record.store import SqlRecord
from colm.db.schema import migrate
from colm.workers.audit import keys
from colm.workers.audit.keys import SiteKey
from tests.provision import PostgresServer
from tests.unit.db_examples import LATER, record_whole_life


@dataclass(frozen=True, kw_only=True)
class Tried:
    """What became of one tampering on one database."""

    database: str
    kind: str
    what: str
    promised: bool
    found: bool
    #: The first finding, or why the database itself refused.
    told: str


@dataclass(frozen=True, kw_only=True)
class Case:
    """A record to tamper with."""

    engine: Engine
    trust: Trust
    latest: tuple[int, str]

    def verify(self) -> AuditResult:
        return sum(check_everything(self.engine, self.trust, self.latest), AuditResult())


def prepared(engine: Engine, key: SiteKey) -> Case:
    """Record, checkpoint, erase and purge; no checkpoint covers the last query."""
    record = SqlRecord(engine)
    for query_id in (CHECKPOINTED, ERASED, PURGED, OTHER):
        record_whole_life(record, query_id)
    record.refuse("query-0006", "why?", "colm", "no such option", LATER)
    write_checkpoint(engine, key, LATER)
    erase(engine, ERASED, asked_by="its caller", reason="asked", now=LATER, signer=key)
    purge(engine, [PURGED], reason="retention", now=LATER + timedelta(days=90), signer=key)
    checkpoint = write_checkpoint(engine, key, LATER)
    assert checkpoint is not None
    record_whole_life(record, FRESH)
    trust = Trust(check=keys.check, keys=frozenset({key.key}))
    return Case(engine=engine, trust=trust, latest=(checkpoint.number, checkpoint.hash))


def try_all(case: Case, tamperings: Sequence[Tampering]) -> Iterator[Tried]:
    """Try each on the record and put it back; the record must verify before and after."""
    with case.engine.connect() as connection:
        before = snapshot(connection)
    _expect_clean(case)
    for tampering in tamperings:
        yield _try(case, tampering)
        with behind_our_back(case.engine) as connection:
            restore(connection, before)
    _expect_clean(case)


def _try(case: Case, tampering: Tampering) -> Tried:
    found, told = False, "nothing"
    try:
        with behind_our_back(case.engine) as connection:
            tampering.do(connection)
    except DBAPIError as error:
        found, told = True, f"refused by the database: {str(error.orig).splitlines()[0]}"
    else:
        findings = case.verify().findings
        if findings:
            first = findings[0]
            found = True
            told = f"{first.query_id or ''} {first.table} {first.row} {first.what}".strip()
    return Tried(
        database=case.engine.dialect.name,
        kind=tampering.kind,
        what=tampering.what,
        promised=tampering.promised,
        found=found,
        told=told,
    )


def _expect_clean(case: Case) -> None:
    checked = case.verify()
    if checked.findings:
        raise RuntimeError(f"the record does not verify untouched: {checked.findings[0]}")


@contextmanager
def _databases(*, sqlite_only: bool) -> Iterator[list[str]]:
    folder = Path(tempfile.mkdtemp(prefix="colm-tampering-"))
    try:
        urls = [f"sqlite:///{folder / 'record.sqlite'}"]
        if sqlite_only:
            yield urls
            return
        with PostgresServer() as server:
            yield [server.url, *urls]
    finally:
        shutil.rmtree(folder)


def run(urls: Sequence[str]) -> list[Tried]:
    tamperings = list(all_tamperings())
    tried = []
    with progress() as bar, tempfile.TemporaryDirectory() as folder:
        todo = bar.add_task("tampering", total=len(tamperings) * len(urls))
        key = keys.create(Path(folder) / "audit.key")
        for url in urls:
            migrate.upgrade(url)
            engine = connect(url)
            for result in try_all(prepared(engine, key), tamperings):
                tried.append(result)
                bar.advance(todo)
            engine.dispose()
    return tried


def shown(tried: Sequence[Tried]) -> Table:
    table = Table(title="tampering", title_justify="left")
    table.add_column("tampering")
    databases = list(dict.fromkeys(t.database for t in tried))
    for heading in ("tried", *(f"found on {name}" for name in databases)):
        table.add_column(heading, justify="right")
    table.add_column("found as, for one", overflow="fold")
    for kind in dict.fromkeys(t.kind for t in tried):
        same = [t for t in tried if t.kind == kind]
        counts = [sum(t.found for t in same if t.database == name) for name in databases]
        tries = len(same) // len(databases)
        promised = "" if same[0].promised else " (not promised)"
        told = next((t.told for t in same if t.found), "")
        table.add_row(kind + promised, str(tries), *map(str, counts), told)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="on SQLite alone")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write each tampering there")
    options = parser.parse_args()
    with _databases(sqlite_only=options.quick) as urls:
        tried = run(urls)
    Console().print(shown(tried))
    missed = [t for t in tried if t.promised and not t.found]
    for one in missed:
        print(f"NOT FOUND on {one.database}: {one.kind}: {one.what}")
    if options.json is not None:
        options.json.write_text(json.dumps([asdict(t) for t in tried], indent=2) + "\n")
    sys.exit(bool(missed))


if __name__ == "__main__":
    main()
