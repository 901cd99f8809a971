"""Statements that the site's key signs, and their verification. The key is in no database.

A statement is canonical JSON that begins with its kind: no signature passes for another kind's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from colm.db.integrity.canonical_json import canonical

#: Signing domains. Older signatures must verify: a checkpoint is a "seal", an export a "bundle".
Kind = Literal["seal", "tombstone", "erasure", "bundle"]
#: To be raised when the fields of a statement change.
VERSION = 1

#: (public key, statement, signature) -> whether the signature is valid.
CheckSignature = Callable[[str, bytes, str], bool]


class Signer(Protocol):
    """The site's key."""

    @property
    def key(self) -> str:
        """Its public half."""

    def sign(self, statement: bytes) -> str: ...


@dataclass(frozen=True, kw_only=True)
class Trust:
    """The keys to trust, and the verification of a signature."""

    check: CheckSignature
    #: Public keys to trust; empty: any.
    keys: frozenset[str] = frozenset()

    def signature_error(self, statement: bytes, key: Any, signature: Any) -> str | None:
        """The fault of a signature; None for a valid one."""
        if not isinstance(key, str) or not isinstance(signature, str):
            return "is not signed"
        if self.keys and key not in self.keys:
            return f"is signed by {key}, which is not the site's key"
        return None if self.check(key, statement, signature) else "has a false signature"


def statement(kind: Kind, fields: Mapping[str, Any]) -> bytes:
    """The signed bytes of `fields`; their order does not matter."""
    return canonical({"statement": f"colm {kind} {VERSION}", **fields})


def signature_columns(signer: Signer | None, statement: bytes) -> dict[str, str | None]:
    """The columns `key` and `signature`; null without a key."""
    if signer is None:
        return {"key": None, "signature": None}
    return {"key": signer.key, "signature": signer.sign(statement)}


#: Signed columns of a tombstone and of an erasure.
TOMBSTONE = ("query_id", "length", "head", "purged_at", "reason")
ERASURE = ("query_id", "seq", "at", "asked_by", "reason")


def tombstone_statement(row: Mapping[str, Any]) -> bytes:
    return statement("tombstone", {name: row[name] for name in TOMBSTONE})


def erasure_statement(row: Mapping[str, Any]) -> bytes:
    return statement("erasure", {name: row[name] for name in ERASURE})
