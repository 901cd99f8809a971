"""The signed export of one query, which verifies without the database.

It holds every row with texts and salts and, for each checkpoint of the query, a Merkle inclusion
proof: the query's position and the hashes from its leaf to the root.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, select

from colm.db.audit.checkpoints import checkpoint_statement, leaf_of, members_of
from colm.db.audit.verify_all import read_queries
from colm.db.audit.verify_query import NEVER_WRITTEN, AuditFinding, QueryRows, findings
from colm.db.connection import snapshot
from colm.db.integrity import merkle
from colm.db.integrity.canonical_json import plain
from colm.db.integrity.hash_chain import TEXTS, Fields, Link
from colm.db.integrity.signatures import Signer, Trust, statement
from colm.db.schema.audit_tables import checkpoints
from colm.models.errors import BadMessage, UnknownQuery

FORMAT = "colm audit bundle 1"


def export(engine: Engine, query_id: str, signer: Signer, now: datetime) -> Fields:
    """The signed export of a query. Raises UnknownQuery."""
    with snapshot(engine) as connection:
        (rows,) = read_queries(connection, [query_id])
        if not rows.links:
            raise UnknownQuery(f"no query {query_id} is in the record")
        proofs = [_proof(connection, member) for member in rows.checkpoints]
    content = {
        "format": FORMAT,
        "exported_at": now,
        "query_id": query_id,
        "rows": [{"table": link.table, "row": link.row} for link in rows.links],
        "progress": rows.progress,
        "seals": proofs,
        "key": signer.key,
    }
    document: Fields = plain(content)
    return {**document, "signature": signer.sign(_signed_bytes(document))}


def check_export(document: object, trust: Trust) -> tuple[QueryRows, list[AuditFinding]]:
    """The rows of an export, and everything that is wrong with it.

    Raises BadMessage unless `document` is an export of this format.
    """
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise BadMessage(f"this is no '{FORMAT}'")
    try:
        rows = _query_rows(document)
        all_findings = [
            AuditFinding(query_id=rows.query_id, table="export", row="all", what=fault)
            for fault in _faults(document, rows, trust)
        ]
        return rows, [*all_findings, *findings(rows, trust)]
    except NEVER_WRITTEN as error:
        raise BadMessage(f"the export is damaged: {error!r}") from error


def _signed_bytes(document: Mapping[str, Any]) -> bytes:
    return statement("bundle", {name: document[name] for name in document if name != "signature"})


def _proof(connection: Connection, member: Fields) -> Fields:
    named = select(checkpoints).where(checkpoints.c.number == member["seal"])
    checkpoint = connection.execute(named).one()
    leaves = [leaf_of(row) for row in members_of(connection, member["seal"])]
    hashes = merkle.path(leaves, member["position"])
    return {
        "seal": dict(checkpoint._mapping),
        "position": member["position"],
        "length": member["length"],
        "head": member["head"],
        "path": [sibling.hex() for sibling in hashes],
    }


def _query_rows(document: Fields) -> QueryRows:
    links = [
        Link(entry["table"], {**dict.fromkeys(_hashed_columns(entry["table"])), **entry["row"]})
        for entry in document["rows"]
    ]
    if any(link.row["query_id"] != document["query_id"] for link in links):
        raise ValueError("a row is of another query")
    return QueryRows(
        query_id=document["query_id"],
        links=sorted(links, key=lambda link: int(link.row["seq"])),
        progress=document["progress"],
        checkpoints=[
            {"seal": p["seal"]["number"], "length": p["length"], "head": p["head"]}
            for p in document["seals"]
        ],
    )


def _hashed_columns(table: str) -> tuple[str, ...]:
    return (*TEXTS[table], "hash", "salts", "digests")


def _faults(document: Fields, rows: QueryRows, trust: Trust) -> Iterator[str]:
    if problem := trust.signature_error(
        _signed_bytes(document), document["key"], document["signature"]
    ):
        yield problem
    for proof in document["seals"]:
        checkpoint = proof["seal"]
        if problem := trust.signature_error(
            checkpoint_statement(checkpoint), checkpoint["key"], checkpoint["signature"]
        ):
            yield f"checkpoint {checkpoint['number']} {problem}"
        leaf = leaf_of({**proof, "query_id": rows.query_id})
        hashes = [bytes.fromhex(sibling) for sibling in proof["path"]]
        root = merkle.root_by_path(leaf, proof["position"], checkpoint["queries"], hashes)
        if root is None or root.hex() != checkpoint["root"]:
            yield f"checkpoint {checkpoint['number']} does not cover this query"
