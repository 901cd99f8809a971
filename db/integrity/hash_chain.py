"""The hash chain of a query: each recorded row carries a hash over itself and its predecessor.

The hash is SHA-256 over the canonical JSON (`colm.db.integrity.canonical_json`) of table name,
previous hash and row: every column that is not null, except `hash`, `salts` and the texts. A text
counts by its digest in the column `digests`: SHA-256 over a salt and the text's canonical JSON. A
text and its salt can be erased while the chain stays verifiable; without the salt the text cannot
be guessed. Nulls are left out: a column that a migration adds leaves older hashes valid.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from colm.db.integrity.canonical_json import canonical, encode, plain, sha256

Fields = dict[str, Any]
#: A source of 16 random bytes.
Salt = Callable[[], bytes]

#: Text columns (words of people or models) by table.
TEXTS: Mapping[str, tuple[str, ...]] = {
    "queries": ("question", "options"),
    "rounds": (),
    "steps": ("messages", "choices"),
    "attempts": (),
    "outcomes": ("text", "thought", "error_reason", "choice_logprobs"),
    "decisions": ("reason", "detail"),
    "answers": ("reason", "answer"),
    "erasures": (),
}
#: Columns outside a row's hash.
_LEFT_OUT = {table: frozenset({"hash", "salts", *texts}) for table, texts in TEXTS.items()}


class Link(NamedTuple):
    """A row and the name of its table."""

    table: str
    row: Fields


def row_hash(table: str, row: Mapping[str, Any], previous: str | None) -> str:
    """The hex hash of a row with its digests; `previous` is None for the first of a chain."""
    left_out = _LEFT_OUT[table]
    content = {
        name: plain(value)
        for name, value in row.items()
        if value is not None and name not in left_out
    }
    return sha256(encode({"table": table, "previous": previous, "row": content}))


def text_digest(salt: str, text: Any) -> str:
    """The hex digest of `text` in the chain; `salt` is hex."""
    return sha256(bytes.fromhex(salt), canonical(text))


def chain_row(table: str, row: Fields, previous: str | None, salt: Salt) -> Fields:
    """`row` with digests, salts and hash. Defaults of the database must already be in it."""
    if texts := TEXTS[table]:
        present = [name for name in texts if row.get(name) is not None]
        salts = {name: salt().hex() for name in present}
        digests = {name: text_digest(salts[name], row[name]) for name in present}
        row = {**row, "salts": salts, "digests": digests}
    return {**row, "hash": row_hash(table, row, previous)}


def chain_links(
    links: Iterable[Link], head: str | None, salt: Salt
) -> tuple[list[Link], str | None]:
    """`links` chained to `head` in the order of their `seq`, and the new head."""
    chained = []
    for table, row in sorted(links, key=lambda link: int(link.row["seq"])):
        row = chain_row(table, row, head, salt)
        head = row["hash"]
        chained.append(Link(table, row))
    return chained, head
