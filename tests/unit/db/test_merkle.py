"""One hash over many, and what shows that one is among them."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colm.db.integrity import merkle

LEAVES = [merkle.leaf(bytes([number])) for number in range(33)]


def test_the_tree_is_that_of_rfc_6962() -> None:
    def node(left: bytes, right: bytes) -> bytes:
        return hashlib.sha256(b"\x01" + left + right).digest()

    a, b, c, d, e = LEAVES[:5]
    assert a == hashlib.sha256(b"\x00\x00").digest()
    assert merkle.root([a]) == a
    assert merkle.root([a, b, c]) == node(node(a, b), c)
    assert merkle.root([a, b, c, d, e]) == node(node(node(a, b), node(c, d)), e)
    with pytest.raises(ValueError, match="at least one leaf"):
        merkle.root([])


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 8, 9, 31, 32, 33])
def test_every_leaf_is_shown_to_be_in_its_place_and_in_no_other(count: int) -> None:
    leaves = LEAVES[:count]
    root = merkle.root(leaves)
    for position, leaf in enumerate(leaves):
        path = merkle.path(leaves, position)
        found = [merkle.root_by_path(leaf, p, count, path) for p in range(-1, count + 1)]
        assert [p - 1 for p, by_path in enumerate(found) if by_path == root] == [position]


@given(st.integers(1, 33), st.data())
def test_another_leaf_or_a_path_that_was_changed_shows_nothing(
    count: int, data: st.DataObject
) -> None:
    leaves = LEAVES[:count]
    root = merkle.root(leaves)
    position = data.draw(st.integers(0, count - 1))
    path = merkle.path(leaves, position)
    assert merkle.root_by_path(merkle.leaf(b"another"), position, count, path) != root
    assert merkle.root_by_path(leaves[position], position, count, [*path, root]) != root
    if path:
        assert merkle.root_by_path(leaves[position], position, count, path[1:]) != root
        changed = [path[0][::-1], *path[1:]]
        assert merkle.root_by_path(leaves[position], position, count, changed) != root
