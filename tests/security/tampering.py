"""Applies each tampering of `tampering_sql` to a prepared record and verifies the record.

The record has queries that are sealed, erased, purged and not yet sealed. Triggers and foreign keys
are off while a row changes; the record is restored after each tampering.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from colm.db.audit.checkpoints import write_checkpoint
from colm.db.audit.erase import erase
from colm.db.audit.purge import purge
from colm.db.audit.verify_all import AuditResult, check_everything
from colm.db.integrity.signatures import Trust
from colm.db.record.store import SqlRecord
from colm.workers.audit import keys
from colm.workers.audit.keys import SiteKey
from tests.security.tampering_sql import (
    CHECKPOINTED,
    ERASED,
    FRESH,
    OTHER,
    PURGED,
    Tampering,
    behind_our_back,
    restore,
    snapshot,
)
from tests.unit.db_examples import LATER, record_whole_life


@dataclass(frozen=True, kw_only=True)
class Tried:
    """The result of one tampering on one database."""

    database: str
    kind: str
    what: str
    promised: bool
    detected: bool
    #: The first finding of the audit, or the refusal of the database.
    finding: str


@dataclass(frozen=True, kw_only=True)
class Case:
    """A record to tamper with, and how to verify it."""

    engine: Engine
    trust: Trust
    latest: tuple[int, str]

    def verify(self) -> AuditResult:
        return sum(check_everything(self.engine, self.trust, self.latest), AuditResult())


def prepared(engine: Engine, key: SiteKey) -> Case:
    """Records, seals, erases and purges queries; the last one is not sealed."""
    record = SqlRecord(engine)
    for query_id in (CHECKPOINTED, ERASED, PURGED, OTHER):
        record_whole_life(record, query_id)
    record.refuse("query-0006", "why?", "colm", "no such option", LATER)
    write_checkpoint(engine, key, LATER)
    erase(engine, ERASED, asked_by="its caller", reason="asked", now=LATER, signer=key)
    purge(engine, [PURGED], reason="retention", now=LATER + timedelta(days=90), signer=key)
    seal = write_checkpoint(engine, key, LATER)
    assert seal is not None
    record_whole_life(record, FRESH)
    trust = Trust(check=keys.check, keys=frozenset({key.key}))
    return Case(engine=engine, trust=trust, latest=(seal.number, seal.hash))


def try_all(case: Case, tamperings: Sequence[Tampering]) -> Iterator[Tried]:
    """Tries each tampering and restores the record, which verifies before and after.

    Raises RuntimeError for a record that does not verify untouched.
    """
    with case.engine.connect() as connection:
        before = snapshot(connection)
    _expect_clean(case)
    for tampering in tamperings:
        yield _try(case, tampering)
        with behind_our_back(case.engine) as connection:
            restore(connection, before)
    _expect_clean(case)


def _try(case: Case, tampering: Tampering) -> Tried:
    detected, finding = False, "nothing"
    try:
        with behind_our_back(case.engine) as connection:
            tampering.do(connection)
    except DBAPIError as error:
        detected, finding = True, f"refused by the database: {str(error.orig).splitlines()[0]}"
    else:
        findings = case.verify().findings
        if findings:
            first = findings[0]
            detected = True
            finding = f"{first.query_id or ''} {first.table} {first.row} {first.what}".strip()
    return Tried(
        database=case.engine.dialect.name,
        kind=tampering.kind,
        what=tampering.what,
        promised=tampering.promised,
        detected=detected,
        finding=finding,
    )


def _expect_clean(case: Case) -> None:
    checked = case.verify()
    if checked.findings:
        raise RuntimeError(f"the record does not verify untouched: {checked.findings[0]}")


def table(tried: Sequence[Tried]) -> str:
    """A line for each kind of tampering: tried and detected, and the first finding."""
    lines = [f"tampering on {tried[0].database}: tried, detected, first finding"]
    for kind in dict.fromkeys(t.kind for t in tried):
        same = [t for t in tried if t.kind == kind]
        promised = "" if same[0].promised else " (not promised)"
        finding = next((t.finding for t in same if t.detected), "")
        detected = sum(t.detected for t in same)
        lines.append(f"  {kind}{promised}: {len(same)}, {detected}, {finding}")
    return "\n".join(lines)
