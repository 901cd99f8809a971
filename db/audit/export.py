"""One query's record as a signed document that can be verified without the database.

It holds every row with its texts and salts, and for each checkpoint of the query a Merkle
inclusion proof: the query's position in the checkpoint's tree and the hashes up to the root.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, select

from colm.db.audit.checkpoints import checkpoint_statement, leaf_of
from colm.db.audit.verify_all import remains_of
from colm.db.audit.verify_query import NEVER_WRITTEN, Finding, QueryRows, findings
from colm.db.connection import snapshot
from colm.db.integrity import merkle
from colm.db.integrity.canonical_json import plain
from colm.db.integrity.hash_chain import TEXTS, Fields, Link
from colm.db.integrity.signatures import Signer, Trust, statement
from colm.db.schema.audit_tables import checkpoints, covered_queries
from colm.models.errors import BadMessage, UnknownQuery

FORMAT = "colm audit bundle 1"


def export(engine: Engine, query_id: str, signer: Signer, now: datetime) -> Fields:
    """The signed export of a query. Raises UnknownQuery."""
    with snapshot(engine) as connection:
        (remains,) = remains_of(connection, [query_id])
        if not remains.links:
            raise UnknownQuery(f"no query {query_id} is in the record")
        proofs = [_proof(connection, member) for member in remains.checkpoints]
    told = {
        "format": FORMAT,
        "exported_at": now,
        "query_id": query_id,
        "rows": [{"table": link.table, "row": link.row} for link in remains.links],
        "progress": remains.progress,
        "seals": proofs,
        "key": signer.key,
    }
    document: Fields = plain(told)
    return {**document, "signature": signer.sign(_said(document))}


def export_findings(document: object, trust: Trust) -> tuple[QueryRows, list[Finding]]:
    """The rows of an export, and everything that is wrong with it.

    Raises BadMessage unless `document` is an export of this format.
    """
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise BadMessage(f"this is no '{FORMAT}'")
    try:
        remains = _remains(document)
        found = [
            Finding(query_id=remains.query_id, table="export", row="all", what=told)
            for told in _faults(document, remains, trust)
        ]
        return remains, [*found, *findings(remains, trust)]
    except NEVER_WRITTEN as error:
        raise BadMessage(f"the export is damaged: {error!r}") from error


def _said(document: Mapping[str, Any]) -> bytes:
    return statement("bundle", {name: document[name] for name in document if name != "signature"})


def _proof(connection: Connection, member: Fields) -> Fields:
    checkpoint = connection.execute(
        select(checkpoints).where(checkpoints.c.number == member["seal"])
    ).one()
    covered = (
        select(covered_queries)
        .where(covered_queries.c.seal == member["seal"])
        .order_by(covered_queries.c.position)
    )
    leaves = [leaf_of(dict(row._mapping)) for row in connection.execute(covered)]
    hashes = merkle.path(leaves, member["position"])
    return {
        "seal": dict(checkpoint._mapping),
        "position": member["position"],
        "length": member["length"],
        "head": member["head"],
        "path": [found.hex() for found in hashes],
    }


def _remains(document: Fields) -> QueryRows:
    links = [
        Link(each["table"], {**dict.fromkeys(_looked_at(each["table"])), **each["row"]})
        for each in document["rows"]
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


def _looked_at(table: str) -> tuple[str, ...]:
    return (*TEXTS[table], "hash", "salts", "digests")


def _faults(document: Fields, remains: QueryRows, trust: Trust) -> Iterator[str]:
    if complaint := trust.signature_error(_said(document), document["key"], document["signature"]):
        yield complaint
    for proof in document["seals"]:
        checkpoint = proof["seal"]
        if complaint := trust.signature_error(
            checkpoint_statement(checkpoint), checkpoint["key"], checkpoint["signature"]
        ):
            yield f"checkpoint {checkpoint['number']} {complaint}"
        leaf = leaf_of({**proof, "query_id": remains.query_id})
        hashes = [bytes.fromhex(found) for found in proof["path"]]
        root = merkle.root_by_path(leaf, proof["position"], checkpoint["queries"], hashes)
        if root is None or root.hex() != checkpoint["root"]:
            yield f"checkpoint {checkpoint['number']} does not cover this query"
