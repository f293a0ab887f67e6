"""pymerkle, which others wrote, gives the same roots, reads our proofs and has its own read by us."""

from __future__ import annotations

import pytest
from pymerkle import InclusionProof, InmemoryTree, InvalidProof, verify_consistency, verify_inclusion

from tallystick.primitives.merkle import (
    check_consistency,
    check_inclusion,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    root,
)

LEAVES_MAX = 70
DATA = [b"entry %d" % i for i in range(LEAVES_MAX)]
LEAVES = [leaf_hash(data) for data in DATA]


@pytest.fixture(scope="module")
def tree() -> InmemoryTree:
    tree = InmemoryTree(algorithm="sha256")
    for data in DATA:
        tree.append_entry(data)
    return tree


def test_roots_agree_at_every_size(tree: InmemoryTree) -> None:
    for size in range(LEAVES_MAX + 1):
        assert tree.get_root(size) == root(LEAVES[:size])
    for index, leaf in enumerate(LEAVES):
        assert tree.get_leaf(index + 1) == leaf


def test_inclusion_proofs_are_the_same_hashes_and_each_side_accepts_the_other(tree: InmemoryTree) -> None:
    for size in range(1, LEAVES_MAX + 1):
        for index in range(size):
            theirs = tree.prove_inclusion(index + 1, size)
            ours = inclusion_proof(LEAVES, index, size)
            assert tuple(theirs.path) == (LEAVES[index], *ours)
            check_inclusion(LEAVES[index], index, size, theirs.path[1:], tree.get_root(size))
            rebuilt = InclusionProof("sha256", True, size, index + 1, theirs.rule, [LEAVES[index], *ours])  # noqa: FBT003
            verify_inclusion(LEAVES[index], root(LEAVES[:size]), rebuilt, index=index + 1, size=size)


def test_pymerkle_refuses_a_tampered_proof_of_ours(tree: InmemoryTree) -> None:
    theirs = tree.prove_inclusion(6, 11)
    ours = list(inclusion_proof(LEAVES, 5, 11))
    ours[1] = bytes(32)
    bad = InclusionProof("sha256", True, 11, 6, theirs.rule, [LEAVES[5], *ours])  # noqa: FBT003
    with pytest.raises(InvalidProof):
        verify_inclusion(LEAVES[5], root(LEAVES[:11]), bad)


def test_consistency_holds_between_their_states_and_ours(tree: InmemoryTree) -> None:
    """The proofs differ in form (pymerkle splits down to leaves), so each is checked against the other's roots."""
    for new in range(1, LEAVES_MAX + 1):
        for old in range(1, new + 1):
            check_consistency(old, new, consistency_proof(LEAVES, old, new), tree.get_root(old), tree.get_root(new))
            theirs = tree.prove_consistency(old, new)
            verify_consistency(root(LEAVES[:old]), root(LEAVES[:new]), theirs, prior_size=old, later_size=new)
