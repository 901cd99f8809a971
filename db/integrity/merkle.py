"""Merkle trees of RFC 6962 (Certificate Transparency), section 2.1, over SHA-256.

Leaf and node hashes begin with different bytes; a left subtree has a power of two of leaves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

_LEAF, _NODE = b"\x00", b"\x01"


def leaf(data: bytes) -> bytes:
    return hashlib.sha256(_LEAF + data).digest()


def root(leaves: Sequence[bytes]) -> bytes:
    """The root over `leaves` (32 bytes each). Raises ValueError for none."""
    if not leaves:
        raise ValueError("a tree has at least one leaf")
    if len(leaves) == 1:
        return leaves[0]
    left = _left(len(leaves))
    return _node(root(leaves[:left]), root(leaves[left:]))


def path(leaves: Sequence[bytes], position: int) -> list[bytes]:
    """The audit path of the leaf at `position`, from leaf to root (RFC 6962, 2.1.1)."""
    if len(leaves) == 1:
        return []
    left = _left(len(leaves))
    if position < left:
        return [*path(leaves[:left], position), root(leaves[left:])]
    return [*path(leaves[left:], position - left), root(leaves[:left])]


def root_by_path(
    leaf_hash: bytes, position: int, count: int, hashes: Sequence[bytes]
) -> bytes | None:
    """The root of `count` leaves by an audit path; None for a path of the wrong length."""
    if not 0 <= position < count:
        return None
    if count == 1:
        return leaf_hash if not hashes else None
    if not hashes:
        return None
    left = _left(count)
    if position < left:
        below = root_by_path(leaf_hash, position, left, hashes[:-1])
        return None if below is None else _node(below, hashes[-1])
    below = root_by_path(leaf_hash, position - left, count - left, hashes[:-1])
    return None if below is None else _node(hashes[-1], below)


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(_NODE + left + right).digest()


def _left(count: int) -> int:
    """The largest power of two below `count`, which is at least 2."""
    return 1 << (count - 1).bit_length() - 1
