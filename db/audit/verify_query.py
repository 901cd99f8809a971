"""Verification of one query's rows. Pure.

The chain up to the head in `progress` shows changed, missing and added rows; checkpoints show a
recomputed chain; signatures show who erased or purged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

from colm.db.integrity.hash_chain import TEXTS, Fields, Link, row_hash, text_digest
from colm.db.integrity.redaction import placeholder_of
from colm.db.integrity.signatures import Trust, erasure_statement, tombstone_statement

#: Errors from values that only tampering can have written.
NEVER_WRITTEN = (AttributeError, KeyError, RecursionError, TypeError, ValueError)


@dataclass(frozen=True, kw_only=True)
class AuditFinding:
    """A difference from what was recorded."""

    #: None: of no single query.
    query_id: str | None
    table: str
    #: The row's name within its table.
    row: str
    what: str


@dataclass(frozen=True, kw_only=True)
class QueryRows:
    """Everything that the database holds of one query id."""

    query_id: str
    #: By `seq`.
    links: Sequence[Link]
    progress: Fields | None
    #: Its rows in `covered_queries`.
    checkpoints: Sequence[Fields] = ()
    tombstone: Fields | None = None

    @property
    def unchained(self) -> bool:
        """Whether it was recorded before rows had hashes."""
        return bool(self.links) and all(link.row["hash"] is None for link in self.links)


def findings(rows: QueryRows, trust: Trust) -> Iterator[AuditFinding]:
    """Everything that is wrong with the rows of a query."""
    if rows.tombstone is not None:
        yield from _of_tombstone(rows, rows.tombstone, trust)
    elif not rows.links:
        if rows.checkpoints:
            checkpoint = rows.checkpoints[-1]["seal"]
            yield _finding(
                rows, "queries", "all", f"is gone, though checkpoint {checkpoint} covers it"
            )
        return
    if rows.links:
        yield from _of_order(rows)
        yield from _of_hashes(rows)
        yield from _of_texts(rows)
        yield from _of_erasures(rows, trust)
        yield from _of_progress(rows)
        yield from _of_checkpoints(rows)


def _finding(rows: QueryRows, table: str, row: str, what: str) -> AuditFinding:
    return AuditFinding(query_id=rows.query_id, table=table, row=row, what=what)


def _at(rows: QueryRows, link: Link, what: str) -> AuditFinding:
    return _finding(rows, link.table, f"seq {link.row['seq']}", what)


def _of_order(rows: QueryRows) -> Iterator[AuditFinding]:
    first, *rest = rows.links
    if first.table != "queries" or first.row["seq"] != 1:
        yield _finding(rows, "queries", "seq 1", "is missing")
    for link in rest:
        if link.table == "queries":
            yield _at(rows, link, "is not the first row of its query")
    for before, after in pairwise(rows.links):
        first, last = before.row["seq"] + 1, after.row["seq"] - 1
        if last < first - 1:
            yield _at(rows, after, f"has the seq of a row in {before.table}")
        elif last == first:
            yield _finding(rows, "any", f"seq {first}", "is missing")
        elif last > first:
            yield _finding(rows, "any", f"seq {first} to {last}", "are missing")
    yield from _after_the_end(rows)


def _after_the_end(rows: QueryRows) -> Iterator[AuditFinding]:
    ended = False
    for link in rows.links:
        late = link.table == "outcomes" and link.row["status"] == "late"
        if ended and not late and link.table != "erasures":
            yield _at(rows, link, "was added after the query's end")
        ended = ended or link.table == "answers"


def _of_hashes(rows: QueryRows) -> Iterator[AuditFinding]:
    previous = None
    for link in rows.links:
        if link.row["hash"] is None:
            if previous is not None:
                yield _at(rows, link, "has no hash, though rows before it have one")
        elif not _equal(partial(row_hash, link.table, link.row, previous), link.row["hash"]):
            yield _at(rows, link, "was changed, or follows another row than it did when written")
        previous = link.row["hash"] or previous


def _equal(compute: Callable[[], Any], expected: Any) -> bool:
    try:
        return bool(compute() == expected)
    except NEVER_WRITTEN:
        return False


def _of_texts(rows: QueryRows) -> Iterator[AuditFinding]:
    erased_before = max(
        (link.row["seq"] for link in rows.links if link.table == "erasures"), default=0
    )
    for link in rows.links:
        if link.row["hash"] is None:
            continue
        for column in TEXTS[link.table]:
            wrong = _wrong_text(link, column, erasable=link.row["seq"] < erased_before)
            if wrong:
                yield _at(rows, link, f"{column} {wrong}")


def _wrong_text(link: Link, column: str, *, erasable: bool) -> str | None:
    text, salts = link.row[column], link.row["salts"]
    digest = _of(link.row["digests"], column)
    if digest is None:
        return None if text is None else "was added"
    if text is None:
        return "was removed"
    if salts is None:
        if not erasable:
            return "was removed without an erasure"
        placeholder = partial(placeholder_of, link.table, column, text)
        return None if _equal(placeholder, text) else "was erased and written again"
    recomputed = partial(text_digest, _of(salts, column), text)
    return None if _equal(recomputed, digest) else "was changed"


def _of(stored: Any, name: str) -> Any:
    return stored.get(name) if isinstance(stored, dict) else None


def _of_erasures(rows: QueryRows, trust: Trust) -> Iterator[AuditFinding]:
    for link in rows.links:
        if link.table == "erasures" and (rows.checkpoints or link.row["key"] is not None):
            problem = _signature_error(trust, erasure_statement, link.row)
            if problem:
                yield _at(rows, link, problem)


def _signature_error(trust: Trust, statement_of: Any, row: Mapping[str, Any]) -> str | None:
    try:
        signed_bytes = statement_of(row)
    except NEVER_WRITTEN:
        return "has values that CoLM never writes"
    return trust.signature_error(signed_bytes, row["key"], row["signature"])


def _of_progress(rows: QueryRows) -> Iterator[AuditFinding]:
    progress = rows.progress
    if progress is None:
        yield _finding(rows, "progress", "its row", "is missing")
        return
    last = rows.links[-1].row
    if progress["next_seq"] != last["seq"] + 1:
        reason = f"counts {progress['next_seq'] - 1} rows, but the last has seq {last['seq']}"
        yield _finding(rows, "progress", "its row", reason)
    if progress["head"] != last["hash"]:
        yield _finding(
            rows, "progress", "its row", "has another head than the hash of the last row"
        )
    ended = any(link.table == "answers" for link in rows.links)
    if bool(progress["open"]) == ended:
        reason = "is open, but the query has ended" if ended else "is ended, but the query is open"
        yield _finding(rows, "progress", "its row", reason)


def _of_checkpoints(rows: QueryRows) -> Iterator[AuditFinding]:
    by_seq = {link.row["seq"]: link.row["hash"] for link in rows.links}
    for member in rows.checkpoints:
        if member["length"] not in by_seq:
            reason = f"has fewer rows than checkpoint {member['seal']} covers ({member['length']})"
            yield _finding(rows, "any", f"seq {member['length']}", reason)
        elif member["head"] != by_seq[member["length"]]:
            reason = (
                f"has another hash than in checkpoint {member['seal']}: the chain was recomputed"
            )
            yield _finding(rows, "any", f"seq {member['length']}", reason)


def _of_tombstone(rows: QueryRows, tombstone: Fields, trust: Trust) -> Iterator[AuditFinding]:
    if rows.links or rows.progress is not None:
        yield _finding(rows, "tombstones", "its row", "records a purge, but the query has rows")
    if rows.checkpoints or tombstone["key"] is not None:
        problem = _signature_error(trust, tombstone_statement, tombstone)
        if problem:
            yield _finding(rows, "tombstones", "its row", problem)
    for member in rows.checkpoints:
        same = member["length"] == tombstone["length"]
        if member["length"] > tombstone["length"] or (same and member["head"] != tombstone["head"]):
            reason = f"has another length or head than checkpoint {member['seal']} covers"
            yield _finding(rows, "tombstones", "its row", reason)
