"""One query's record as a signed document that can be verified without the database.

It holds every row with its texts and salts, and for each seal on the query what shows that the seal
covers it: the query's place in the seal's tree and the hashes from there to the root.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, select

from colm.db.audit.seals import leaf_of, seal_statement
from colm.db.audit.verify_all import remains_of
from colm.db.audit.verify_query import NEVER_WRITTEN, Finding, QueryRows, findings
from colm.db.connection import snapshot
from colm.db.integrity import merkle
from colm.db.integrity.canonical_json import plain
from colm.db.integrity.hash_chain import TEXTS, Fields, Link
from colm.db.integrity.signatures import Signer, Trust, statement
from colm.db.schema.audit_tables import sealed, seals
from colm.models.errors import BadMessage, UnknownQuery

FORMAT = "colm audit bundle 1"


def export(engine: Engine, query_id: str, signer: Signer, now: datetime) -> Fields:
    """The bundle of a query; raises UnknownQuery."""
    with snapshot(engine) as connection:
        (remains,) = remains_of(connection, [query_id])
        if not remains.links:
            raise UnknownQuery(f"no query {query_id} is in the record")
        proofs = [_proof(connection, member) for member in remains.sealed]
    told = {
        "format": FORMAT,
        "exported_at": now,
        "query_id": query_id,
        "rows": [{"table": link.table, "row": link.row} for link in remains.links],
        "progress": remains.progress,
        "seals": proofs,
        "key": signer.key,
    }
    bundle: Fields = plain(told)
    return {**bundle, "signature": signer.sign(_said(bundle))}


def bundle_findings(bundle: object, trust: Trust) -> tuple[QueryRows, list[Finding]]:
    """What the bundle tells of, and all that is wrong with it.

    Raises BadMessage where it is no bundle of this version of CoLM.
    """
    if not isinstance(bundle, dict) or bundle.get("format") != FORMAT:
        raise BadMessage(f"this is no '{FORMAT}'")
    try:
        remains = _remains(bundle)
        found = [
            Finding(query_id=remains.query_id, table="bundle", row="all", what=told)
            for told in _faults(bundle, remains, trust)
        ]
        return remains, [*found, *findings(remains, trust)]
    except NEVER_WRITTEN as error:
        raise BadMessage(f"the bundle is damaged: {error!r}") from error


def _said(bundle: Mapping[str, Any]) -> bytes:
    return statement("bundle", {name: bundle[name] for name in bundle if name != "signature"})


def _proof(connection: Connection, member: Fields) -> Fields:
    seal = connection.execute(select(seals).where(seals.c.number == member["seal"])).one()
    covered = select(sealed).where(sealed.c.seal == member["seal"]).order_by(sealed.c.position)
    leaves = [leaf_of(dict(row._mapping)) for row in connection.execute(covered)]
    hashes = merkle.path(leaves, member["position"])
    return {
        "seal": dict(seal._mapping),
        "position": member["position"],
        "length": member["length"],
        "head": member["head"],
        "path": [found.hex() for found in hashes],
    }


def _remains(bundle: Fields) -> QueryRows:
    links = [
        Link(each["table"], {**dict.fromkeys(_looked_at(each["table"])), **each["row"]})
        for each in bundle["rows"]
    ]
    if any(link.row["query_id"] != bundle["query_id"] for link in links):
        raise ValueError("a row is of another query")
    return QueryRows(
        query_id=bundle["query_id"],
        links=sorted(links, key=lambda link: int(link.row["seq"])),
        progress=bundle["progress"],
        sealed=[
            {"seal": p["seal"]["number"], "length": p["length"], "head": p["head"]}
            for p in bundle["seals"]
        ],
    )


def _looked_at(table: str) -> tuple[str, ...]:
    return (*TEXTS[table], "hash", "salts", "digests")


def _faults(bundle: Fields, remains: QueryRows, trust: Trust) -> Iterator[str]:
    if complaint := trust.signature_error(_said(bundle), bundle["key"], bundle["signature"]):
        yield complaint
    for proof in bundle["seals"]:
        seal = proof["seal"]
        if complaint := trust.signature_error(seal_statement(seal), seal["key"], seal["signature"]):
            yield f"seal {seal['number']} {complaint}"
        leaf = leaf_of({**proof, "query_id": remains.query_id})
        hashes = [bytes.fromhex(found) for found in proof["path"]]
        root = merkle.root_by_path(leaf, proof["position"], seal["queries"], hashes)
        if root is None or root.hex() != seal["root"]:
            yield f"seal {seal['number']} does not cover this query"
