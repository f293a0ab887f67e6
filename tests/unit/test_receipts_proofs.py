"""The tree in memory gives the roots and proofs of the definition, for every size it ever had."""

from __future__ import annotations

import pytest

from tallystick.primitives.merkle import (
    CompactRange,
    check_consistency,
    check_inclusion,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    root,
)
from tallystick.receipts.proofs import LogTree

LEAVES_MAX = 70
LEAVES = [leaf_hash(b"leaf %d" % i) for i in range(LEAVES_MAX)]
TREE = LogTree(LEAVES)


def test_roots_and_ranges_of_every_size() -> None:
    for size in range(LEAVES_MAX + 1):
        assert TREE.root(size) == root(LEAVES[:size])
        assert TREE.compact_range(size) == CompactRange().extend(LEAVES[:size])
    assert TREE.root() == root(LEAVES)
    assert TREE.compact_range().size == TREE.size == LEAVES_MAX


def test_inclusion_proofs_are_those_of_the_definition() -> None:
    for size in range(1, LEAVES_MAX + 1):
        for index in range(size):
            assert TREE.inclusion(index, size) == inclusion_proof(LEAVES, index, size)
    check_inclusion(LEAVES[3], 3, LEAVES_MAX, TREE.inclusion(3), TREE.root())


def test_consistency_proofs_are_those_of_the_definition() -> None:
    for new in range(LEAVES_MAX + 1):
        for old in range(new + 1):
            assert TREE.consistency(old, new) == consistency_proof(LEAVES, old, new)
    check_consistency(9, LEAVES_MAX, TREE.consistency(9), TREE.root(9), TREE.root())


def test_append_returns_the_index_and_keeps_earlier_sizes() -> None:
    tree = LogTree()
    for index, leaf in enumerate(LEAVES):
        assert tree.append(leaf) == index
        assert tree.leaf(index) == leaf
        assert tree.root() == root(LEAVES[: index + 1])
        assert tree.root(index // 2) == root(LEAVES[: index // 2])


def test_truncate_forgets_a_batch_and_growth_goes_on_from_there() -> None:
    for size in range(LEAVES_MAX + 1):
        tree = LogTree(LEAVES)
        tree.truncate(size)
        assert tree.size == size
        assert tree.root() == root(LEAVES[:size])
        other = [leaf_hash(b"other %d" % i) for i in range(9)]
        tree.extend(other)
        assert tree.root() == root([*LEAVES[:size], *other])
        assert tree._levels[1:] == LogTree([*LEAVES[:size], *other])._levels[1:]


def test_subtree_roots_are_what_tiles_hold() -> None:
    for height in range(7):
        count = LEAVES_MAX >> height
        roots = [root(LEAVES[i << height : i + 1 << height]) for i in range(count)]
        assert TREE.subtree_roots(height, 0, count) == b"".join(roots)
        assert TREE.subtree_roots(height, count // 2, count) == b"".join(roots[count // 2 :])
        with pytest.raises(ValueError, match="no perfect subtrees"):
            TREE.subtree_roots(height, 0, count + 1)
    assert TREE.subtree_roots(40, 0, 0) == b""


def test_what_is_not_there_is_refused() -> None:
    for index, size in ((0, 0), (5, 5), (-1, 5), (0, LEAVES_MAX + 1)):
        with pytest.raises(ValueError, match="no "):
            TREE.inclusion(index, size)
    for old, new in ((3, 2), (-1, 2), (0, LEAVES_MAX + 1)):
        with pytest.raises(ValueError, match="no "):
            TREE.consistency(old, new)
    for index in (-1, LEAVES_MAX):
        with pytest.raises(ValueError, match="no leaf"):
            TREE.leaf(index)
    for size in (-1, LEAVES_MAX + 1):
        with pytest.raises(ValueError, match="no tree"):
            TREE.root(size)
        with pytest.raises(ValueError, match="no tree"):
            LogTree(LEAVES).truncate(size)
    with pytest.raises(ValueError, match="32 bytes"):
        LogTree().append(b"short")


@pytest.mark.parametrize("already", [0, 1, 2, 3, 7, 8, 31, 64])
def test_leaves_in_one_row_give_the_tree_that_they_give_one_by_one(already: int) -> None:
    for end in range(already, LEAVES_MAX + 1):
        tree = LogTree(LEAVES[:already])
        tree.extend_packed(b"".join(LEAVES[already:end]))
        assert tree.size == end
        assert [tree.root(size) for size in range(end + 1)] == [root(LEAVES[:size]) for size in range(end + 1)]
        assert all(tree.inclusion(at) == inclusion_proof(LEAVES[:end], at) for at in range(end))
        tree.append(LEAVES[0])
        assert tree.root() == root([*LEAVES[:end], LEAVES[0]])


def test_a_row_that_ends_within_a_leaf_is_refused_and_changes_nothing() -> None:
    tree = LogTree(LEAVES[:3])
    with pytest.raises(ValueError, match="33 bytes are no row"):
        tree.extend_packed(bytes(33))
    assert tree.root() == root(LEAVES[:3])
