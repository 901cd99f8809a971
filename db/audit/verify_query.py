"""Whether what is recorded of one query is what was recorded. Pure: looks at rows, reads none.

A query's rows prove each other by their chain, up to the head in `progress`. Checkpoints prove that the
chain was not computed anew. Signatures prove that what an operator may do, erase and purge, was
done by whoever has the site's key.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from colm.db.integrity.hash_chain import TEXTS, Fields, Link, row_hash, text_digest
from colm.db.integrity.redaction import erased
from colm.db.integrity.signatures import Trust, erasure_statement, tombstone_statement

#: What comes of values that CoLM never writes, but whoever tampers may.
NEVER_WRITTEN = (AttributeError, KeyError, RecursionError, TypeError, ValueError)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that is not as it was recorded."""

    #: None where it is of no one query.
    query_id: str | None
    table: str
    #: Which row, by what tells it from the others.
    row: str
    what: str


@dataclass(frozen=True, kw_only=True)
class QueryRows:
    """All that the database holds of one query id."""

    query_id: str
    #: In the order of their seq.
    links: Sequence[Link]
    progress: Fields | None
    #: The rows of `covered_queries` that name it.
    checkpoints: Sequence[Fields] = ()
    tombstone: Fields | None = None

    @property
    def unchained(self) -> bool:
        """Whether it was recorded before rows had hashes."""
        return bool(self.links) and all(link.row["hash"] is None for link in self.links)


def findings(remains: QueryRows, trust: Trust) -> Iterator[Finding]:
    """Everything that is wrong with a query's record."""
    if remains.tombstone is not None:
        yield from _of_tombstone(remains, remains.tombstone, trust)
    elif not remains.links:
        if remains.checkpoints:
            checkpoint = remains.checkpoints[-1]["seal"]
            yield _finding(
                remains, "queries", "all", f"is gone, though checkpoint {checkpoint} covers it"
            )
        return
    if remains.links:
        yield from _of_order(remains)
        yield from _of_hashes(remains)
        yield from _of_texts(remains)
        yield from _of_erasures(remains, trust)
        yield from _of_progress(remains)
        yield from _of_checkpoints(remains)


def _finding(remains: QueryRows, table: str, row: str, what: str) -> Finding:
    return Finding(query_id=remains.query_id, table=table, row=row, what=what)


def _at(remains: QueryRows, link: Link, what: str) -> Finding:
    return _finding(remains, link.table, f"seq {link.row['seq']}", what)


def _of_order(remains: QueryRows) -> Iterator[Finding]:
    first, *rest = remains.links
    if first.table != "queries" or first.row["seq"] != 1:
        yield _finding(remains, "queries", "seq 1", "is missing")
    for link in rest:
        if link.table == "queries":
            yield _at(remains, link, "is not the first row of its query")
    for before, after in pairwise(remains.links):
        lost = after.row["seq"] - before.row["seq"] - 1
        if lost < 0:
            yield _at(remains, after, f"has the seq of a row in {before.table}")
        elif lost == 1:
            yield _finding(remains, "any", f"seq {after.row['seq'] - 1}", "is missing")
        elif lost > 1:
            span = f"seq {before.row['seq'] + 1} to {after.row['seq'] - 1}"
            yield _finding(remains, "any", span, "are missing")
    yield from _after_the_end(remains)


def _after_the_end(remains: QueryRows) -> Iterator[Finding]:
    ended = False
    for link in remains.links:
        late = link.table == "outcomes" and link.row["status"] == "late"
        if ended and not late and link.table != "erasures":
            yield _at(remains, link, "was added after the query's end")
        ended = ended or link.table == "answers"


def _of_hashes(remains: QueryRows) -> Iterator[Finding]:
    previous = None
    for link in remains.links:
        if link.row["hash"] is None:
            if previous is not None:
                yield _at(remains, link, "has no hash, though rows before it have one")
        elif not _hashes_to(link, previous):
            yield _at(remains, link, "was changed, or follows another row than when it was written")
        previous = link.row["hash"] or previous


def _hashes_to(link: Link, previous: Any) -> bool:
    try:
        return bool(row_hash(link.table, link.row, previous) == link.row["hash"])
    except NEVER_WRITTEN:
        return False


def _of_texts(remains: QueryRows) -> Iterator[Finding]:
    erased_before = max(
        (link.row["seq"] for link in remains.links if link.table == "erasures"), default=0
    )
    for link in remains.links:
        if link.row["hash"] is None:
            continue
        for column in TEXTS[link.table]:
            wrong = _wrong_text(link, column, erasable=link.row["seq"] < erased_before)
            if wrong:
                yield _at(remains, link, f"{column} {wrong}")


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
        return None if _is_erased(link.table, column, text) else "was erased and written again"
    return None if _digests_to(text, _of(salts, column), digest) else "was changed"


def _of(stored: Any, name: str) -> Any:
    return stored.get(name) if isinstance(stored, dict) else None


def _is_erased(table: str, column: str, text: Any) -> bool:
    try:
        return bool(erased(table, column, text) == text)
    except NEVER_WRITTEN:
        return False


def _digests_to(text: Any, salt: Any, digest: Any) -> bool:
    try:
        return bool(text_digest(salt, text) == digest)
    except NEVER_WRITTEN:
        return False


def _of_erasures(remains: QueryRows, trust: Trust) -> Iterator[Finding]:
    for link in remains.links:
        if link.table == "erasures" and (remains.checkpoints or link.row["key"] is not None):
            complaint = _complaint(trust, erasure_statement, link.row)
            if complaint:
                yield _at(remains, link, complaint)


def _complaint(trust: Trust, say: Any, row: Mapping[str, Any]) -> str | None:
    try:
        said = say(row)
    except NEVER_WRITTEN:
        return "has values that are never written"
    return trust.signature_error(said, row["key"], row["signature"])


def _of_progress(remains: QueryRows) -> Iterator[Finding]:
    stands = remains.progress
    if stands is None:
        yield _finding(remains, "progress", "its row", "is missing")
        return
    last = remains.links[-1].row
    if stands["next_seq"] != last["seq"] + 1:
        told = f"tells of {stands['next_seq'] - 1} rows, and the last has seq {last['seq']}"
        yield _finding(remains, "progress", "its row", told)
    if stands["head"] != last["hash"]:
        yield _finding(remains, "progress", "its row", "has another head than the last row")
    ended = any(link.table == "answers" for link in remains.links)
    if bool(stands["open"]) == ended:
        told = "says that it is open, and it has ended" if ended else "says that it has ended"
        yield _finding(remains, "progress", "its row", told)


def _of_checkpoints(remains: QueryRows) -> Iterator[Finding]:
    by_seq = {link.row["seq"]: link.row["hash"] for link in remains.links}
    for member in remains.checkpoints:
        if member["length"] not in by_seq:
            told = f"has fewer rows than the {member['length']} that checkpoint {member['seal']} covers"
            yield _finding(remains, "any", f"seq {member['length']}", told)
        elif member["head"] != by_seq[member["length"]]:
            told = (
                f"has another hash than checkpoint {member['seal']} says: the chain was made anew"
            )
            yield _finding(remains, "any", f"seq {member['length']}", told)


def _of_tombstone(remains: QueryRows, stone: Fields, trust: Trust) -> Iterator[Finding]:
    if remains.links or remains.progress is not None:
        yield _finding(remains, "tombstones", "its row", "tells of a purge, and rows are there")
    if remains.checkpoints or stone["key"] is not None:
        complaint = _complaint(trust, tombstone_statement, stone)
        if complaint:
            yield _finding(remains, "tombstones", "its row", complaint)
    for member in remains.checkpoints:
        same = member["length"] == stone["length"]
        if member["length"] > stone["length"] or (same and member["head"] != stone["head"]):
            told = f"tells of another life than checkpoint {member['seal']} covers"
            yield _finding(remains, "tombstones", "its row", told)
