"""Every proof up to 70 leaves holds, and every tampering with it is refused."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest

from tallystick.errors import ConsistencyError, InclusionError
from tallystick.primitives.merkle import (
    EMPTY_ROOT,
    CompactRange,
    CompactRangeBuilder,
    check_consistency,
    check_inclusion,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root,
)

LEAVES_MAX = 70
LEAVES = [leaf_hash(b"leaf %d" % i) for i in range(LEAVES_MAX)]
ROOTS = [root(LEAVES[:n]) for n in range(LEAVES_MAX + 1)]
OTHER = b"\x5a" * 32


def recursive_root(leaves: list[bytes]) -> bytes:
    """The definition of RFC 6962, section 2.1, word by word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    left, right = recursive_root(leaves[:split]), recursive_root(leaves[split:])
    return hashlib.sha256(b"\x01" + left + right).digest()


def test_hashes_carry_their_prefix() -> None:
    assert leaf_hash(b"x") == hashlib.sha256(b"\x00x").digest()
    assert node_hash(b"l" * 32, b"r" * 32) == hashlib.sha256(b"\x01" + b"l" * 32 + b"r" * 32).digest()
    assert hashlib.sha256().digest() == EMPTY_ROOT


def test_roots_follow_the_definition() -> None:
    assert [recursive_root(LEAVES[:n]) for n in range(LEAVES_MAX + 1)] == ROOTS


def test_the_last_leaf_is_promoted_and_never_doubled() -> None:
    a, b, c = LEAVES[:3]
    assert root([a, b, c]) == node_hash(node_hash(a, b), c)
    assert root([a, b, c]) != root([a, b, c, c])


def test_rfc_6962_test_tree() -> None:
    """The tree of certificate-transparency's own tests (eight published leaves)."""
    data = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
    leaves = [leaf_hash(bytes.fromhex(text)) for text in data]
    assert root(leaves[:1]).hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    assert root(leaves[:2]).hex() == "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"
    assert root(leaves).hex() == "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"


def test_compact_ranges_grow_to_the_same_roots() -> None:
    frozen, builder = CompactRange(), CompactRangeBuilder()
    for size in range(LEAVES_MAX + 1):
        assert frozen.root() == builder.root() == ROOTS[size]
        assert frozen.size == builder.size == size
        assert builder.freeze() == frozen
        assert CompactRange().extend(LEAVES[:size]) == frozen
        assert CompactRangeBuilder(frozen).freeze() == frozen
        if size < LEAVES_MAX:
            before = frozen
            frozen = before.append(LEAVES[size])
            assert before.size == size
            builder.append(LEAVES[size])


@pytest.mark.parametrize(
    ("size", "hashes"), [(1, ()), (0, (OTHER,)), (3, (OTHER,)), (2, (OTHER, OTHER)), (-1, ()), (1, (b"x",))]
)
def test_an_impossible_range_is_refused(size: int, hashes: tuple[bytes, ...]) -> None:
    with pytest.raises(ValueError, match="range"):
        CompactRange(size, hashes)


def test_a_leaf_hash_of_another_length_is_refused() -> None:
    for leaf in (b"", b"x" * 31, b"x" * 33):
        with pytest.raises(ValueError, match="32 bytes"):
            CompactRange().append(leaf)


def test_every_inclusion_proof_holds() -> None:
    for size in range(1, LEAVES_MAX + 1):
        for index in range(size):
            proof = inclusion_proof(LEAVES, index, size)
            assert proof == inclusion_proof(LEAVES[:size], index)
            check_inclusion(LEAVES[index], index, size, proof, ROOTS[size])


def tampered_proofs(proof: tuple[bytes, ...]) -> Iterator[tuple[bytes, ...]]:
    """Every proof that differs from this one by one change."""
    for at, value in enumerate(proof):
        yield (*proof[:at], bytes((value[0] ^ 1,)) + value[1:], *proof[at + 1 :])
        yield (*proof[:at], value[:-1] + bytes((value[-1] ^ 128,)), *proof[at + 1 :])
        yield (*proof[:at], value[:31], *proof[at + 1 :])
        yield (*proof[:at], value + b"\0", *proof[at + 1 :])
        yield (*proof[:at], *proof[at + 1 :])
        yield (*proof[:at], value, value, *proof[at + 1 :])
    for at, (one, other) in enumerate(pairwise(proof)):
        if one != other:
            yield (*proof[:at], other, one, *proof[at + 2 :])
    yield (*proof, OTHER)
    yield (OTHER, *proof)
    yield (*proof, EMPTY_ROOT)


def refused(error: type[Exception], check: Callable[..., None], *claim: object) -> None:
    try:
        check(*claim)
    except error:
        return
    pytest.fail(f"{check.__name__} accepted {claim}")


def test_every_tampered_inclusion_proof_is_refused() -> None:
    for size in range(1, LEAVES_MAX + 1):
        for index in range(size):
            leaf, proof, top = LEAVES[index], inclusion_proof(LEAVES, index, size), ROOTS[size]
            for bad in tampered_proofs(proof):
                refused(InclusionError, check_inclusion, leaf, index, size, bad, top)
            refused(InclusionError, check_inclusion, OTHER, index, size, proof, top)
            refused(InclusionError, check_inclusion, leaf, index, size, proof, OTHER)
            for other in (-1, index - 1, index + 1, index ^ 1, size, size + 1):
                if other != index:
                    refused(InclusionError, check_inclusion, leaf, other, size, proof, top)


def test_an_inclusion_proof_binds_size_by_root_and_length() -> None:
    """A proof may have the right length for another size; only the root of that size may then make it hold."""
    for size in range(1, 40):
        for index in range(size):
            proof = inclusion_proof(LEAVES, index, size)
            for other in range(40):
                if other != size:
                    refused(InclusionError, check_inclusion, LEAVES[index], index, other, proof, ROOTS[other])


def test_a_path_of_one_shape_holds_under_several_sizes() -> None:
    """The reason why size and root must come from one signed checkpoint."""
    proof = inclusion_proof(LEAVES, 5, 11)
    for size in range(9, 17):
        check_inclusion(LEAVES[5], 5, size, proof, ROOTS[11])
    for size in (8, 17):
        refused(InclusionError, check_inclusion, LEAVES[5], 5, size, proof, ROOTS[11])


def test_every_consistency_proof_holds() -> None:
    for new in range(LEAVES_MAX + 1):
        for old in range(new + 1):
            proof = consistency_proof(LEAVES, old, new)
            check_consistency(old, new, proof, ROOTS[old], ROOTS[new])


def test_every_tampered_consistency_proof_is_refused() -> None:
    for new in range(1, LEAVES_MAX + 1):
        for old in range(1, new):
            proof = consistency_proof(LEAVES, old, new)
            for bad in tampered_proofs(proof):
                refused(ConsistencyError, check_consistency, old, new, bad, ROOTS[old], ROOTS[new])
            refused(ConsistencyError, check_consistency, old, new, proof, OTHER, ROOTS[new])
            refused(ConsistencyError, check_consistency, old, new, proof, ROOTS[old], OTHER)
            refused(ConsistencyError, check_consistency, old, new, proof, ROOTS[new], ROOTS[old])
            refused(ConsistencyError, check_consistency, new, old, proof, ROOTS[old], ROOTS[new])
            for other in (old - 1, old + 1):
                if 0 < other < new:
                    refused(ConsistencyError, check_consistency, other, new, proof, ROOTS[other], ROOTS[new])


def test_equal_and_empty_trees_need_an_empty_proof() -> None:
    check_consistency(0, 0, (), EMPTY_ROOT, EMPTY_ROOT)
    check_consistency(0, 5, (), EMPTY_ROOT, ROOTS[5])
    check_consistency(5, 5, (), ROOTS[5], ROOTS[5])
    for claim in (
        (0, 5, (OTHER,), EMPTY_ROOT, ROOTS[5]),
        (0, 5, (), OTHER, ROOTS[5]),
        (0, 0, (), EMPTY_ROOT, OTHER),
        (5, 5, (OTHER,), ROOTS[5], ROOTS[5]),
        (5, 5, (), ROOTS[5], OTHER),
        (-1, 5, (), EMPTY_ROOT, ROOTS[5]),
        (8, 4, (), ROOTS[8], ROOTS[8]),
        (5, 6, (), ROOTS[5], ROOTS[6]),
    ):
        refused(ConsistencyError, check_consistency, *claim)


def test_a_node_is_not_a_leaf() -> None:
    """Second-preimage attempt: present the two children of a node as the data of a leaf."""
    inner = LEAVES[0] + LEAVES[1]
    refused(InclusionError, check_inclusion, leaf_hash(inner), 0, 1, (), ROOTS[2])


def test_the_error_carries_both_roots() -> None:
    proof = inclusion_proof(LEAVES, 2, 5)
    with pytest.raises(InclusionError) as caught:
        check_inclusion(LEAVES[3], 2, 5, proof, ROOTS[5])
    assert caught.value.expected == ROOTS[5].hex()
    assert caught.value.actual not in {None, ROOTS[5].hex()}


def test_proofs_of_what_is_not_there_cannot_be_made() -> None:
    for index, size in ((0, 0), (5, 5), (-1, 5), (0, LEAVES_MAX + 1)):
        with pytest.raises(ValueError, match="no inclusion proof"):
            inclusion_proof(LEAVES, index, size)
    for old, new in ((3, 2), (-1, 2), (0, LEAVES_MAX + 1)):
        with pytest.raises(ValueError, match="no consistency proof"):
            consistency_proof(LEAVES, old, new)


def test_sizes_near_the_end_of_the_range_do_not_loop_long() -> None:
    huge = 2**53 - 1
    refused(InclusionError, check_inclusion, OTHER, huge - 1, huge, (OTHER,) * 53, OTHER)
    refused(ConsistencyError, check_consistency, huge - 1, huge, (OTHER,) * 54, OTHER, OTHER)
