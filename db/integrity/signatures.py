"""What the site's key signs, and how a signature is judged. The key itself is in no database.

A statement is the canonical JSON of what it says; its first word says which kind it is, so that no
signature on one kind can be passed off as one on another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from colm.db.integrity.canonical_json import canonical

#: Signing domains. Older signatures must verify: a checkpoint is a "seal", an export a "bundle".
Kind = Literal["seal", "tombstone", "erasure", "bundle"]
#: Raised with every change of what a statement says.
VERSION = 1

#: (public key, statement, signature), the first and last as text: whether they belong together.
CheckSignature = Callable[[str, bytes, str], bool]


class Signer(Protocol):
    """The site's key."""

    @property
    def key(self) -> str:
        """Its public half."""

    def sign(self, statement: bytes) -> str: ...


@dataclass(frozen=True, kw_only=True)
class Signed:
    """The columns `key` and `signature`; both None where the site had no key."""

    key: str | None
    signature: str | None


@dataclass(frozen=True, kw_only=True)
class Trust:
    """How signatures are judged."""

    check: CheckSignature
    #: The public keys that may have signed; empty: any.
    keys: frozenset[str] = frozenset()

    def signature_error(self, statement: bytes, key: Any, signature: Any) -> str | None:
        """What is wrong with the signature; None if nothing is."""
        if not isinstance(key, str) or not isinstance(signature, str):
            return "is not signed"
        if self.keys and key not in self.keys:
            return f"is signed by {key}, which is not the site's key"
        return None if self.check(key, statement, signature) else "has a false signature"


def statement(kind: Kind, fields: Mapping[str, Any]) -> bytes:
    """What is signed of `fields`, whatever order they are in."""
    return canonical({"statement": f"colm {kind} {VERSION}", **fields})


def signed(signer: Signer | None, said: bytes) -> Signed:
    if signer is None:
        return Signed(key=None, signature=None)
    return Signed(key=signer.key, signature=signer.sign(said))


#: What is said of a purged query, and of an erasure.
TOMBSTONE = ("query_id", "length", "head", "purged_at", "reason")
ERASURE = ("query_id", "seq", "at", "asked_by", "reason")


def tombstone_statement(row: Mapping[str, Any]) -> bytes:
    return statement("tombstone", {name: row[name] for name in TOMBSTONE})


def erasure_statement(row: Mapping[str, Any]) -> bytes:
    return statement("erasure", {name: row[name] for name in ERASURE})
