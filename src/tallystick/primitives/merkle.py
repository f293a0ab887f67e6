"""RFC 6962 Merkle trees: roots, the compact range, inclusion and consistency proofs and their strict verifiers.

Leaf = SHA256(0x00 | data), node = SHA256(0x01 | left | right), empty tree = SHA256(""). Everything here works on leaf
hashes. Knows the shape of the tree (RFC 9162, section 2.1). Refuses to know what the leaves are and where they lie.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from tallystick.errors import ConsistencyError, InclusionError

HASH_SIZE: Final = 32
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()
"""Root of the tree without leaves."""

_sha256 = hashlib.sha256


def leaf_hash(data: bytes) -> bytes:
    """SHA256(0x00 | data), 32 bytes."""
    return _sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA256(0x01 | left | right), 32 bytes; both arguments are 32-byte hashes."""
    return _sha256(b"\x01" + left + right).digest()


def root(leaf_hashes: Sequence[bytes]) -> bytes:
    """Root over 32-byte leaf hashes, in O(n); ``EMPTY_ROOT`` for none."""
    return _levels(leaf_hashes)[-1][0] if leaf_hashes else EMPTY_ROOT


@dataclass(frozen=True, slots=True)
class CompactRange:
    """A tree known by the roots of its perfect subtrees, largest first: enough to append and to give the root.

    ``hashes`` holds one 32-byte hash for every set bit of ``size``.
    """

    size: int = 0
    hashes: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a range whose hashes cannot belong to its size (``ValueError``)."""
        if self.size < 0 or len(self.hashes) != self.size.bit_count():
            msg = f"a range of {self.size} leaves cannot have {len(self.hashes)} hashes"
            raise ValueError(msg)
        if any(len(value) != HASH_SIZE for value in self.hashes):
            msg = "every hash of a range must have 32 bytes"
            raise ValueError(msg)

    def append(self, leaf: bytes) -> CompactRange:
        """Return the range with one more leaf hash."""
        return self.extend((leaf,))

    def extend(self, leaf_hashes: Iterable[bytes]) -> CompactRange:
        """Return the range with more leaf hashes, in order."""
        builder = CompactRangeBuilder(self)
        builder.extend(leaf_hashes)
        return builder.freeze()

    def root(self) -> bytes:
        """Root of the tree, 32 bytes."""
        return _fold(self.hashes)


class CompactRangeBuilder:
    """The mutable twin of ``CompactRange`` for the hot path: one hash per append on average, no copies."""

    __slots__ = ("_hashes", "size")

    def __init__(self, start: CompactRange | None = None) -> None:
        """Begin with an empty tree, or where a frozen range ended."""
        self.size = start.size if start else 0
        self._hashes: list[bytes] = list(start.hashes) if start else []

    def append(self, leaf: bytes) -> None:
        """Add one 32-byte leaf hash. Raises ``ValueError`` for another length."""
        if len(leaf) != HASH_SIZE:
            msg = f"a leaf hash has 32 bytes, not {len(leaf)}"
            raise ValueError(msg)
        hashes, carry = self._hashes, self.size
        while carry & 1:
            leaf = _sha256(b"\x01" + hashes.pop() + leaf).digest()
            carry >>= 1
        hashes.append(leaf)
        self.size += 1

    def extend(self, leaf_hashes: Iterable[bytes]) -> None:
        """Add leaf hashes in order."""
        for leaf in leaf_hashes:
            self.append(leaf)

    def root(self) -> bytes:
        """Root of the tree so far, 32 bytes."""
        return _fold(self._hashes)

    def freeze(self) -> CompactRange:
        """Return the frozen range of the leaves so far."""
        return CompactRange(self.size, tuple(self._hashes))


def inclusion_proof(leaf_hashes: Sequence[bytes], index: int, size: int | None = None) -> tuple[bytes, ...]:
    """Siblings from the leaf at ``index`` up to the root over the first ``size`` leaves (default: all), in O(n).

    Raises ``ValueError`` unless 0 <= index < size <= number of leaves.
    """
    size = len(leaf_hashes) if size is None else size
    if not 0 <= index < size <= len(leaf_hashes):
        msg = f"no inclusion proof of leaf {index} in a tree of {size} over {len(leaf_hashes)} leaves"
        raise ValueError(msg)
    proof = []
    for level in _levels(leaf_hashes[:size])[:-1]:
        sibling = index ^ 1
        if sibling < len(level):
            proof.append(level[sibling])
        index >>= 1
    return tuple(proof)


def consistency_proof(leaf_hashes: Sequence[bytes], old_size: int, new_size: int) -> tuple[bytes, ...]:
    """Hashes that connect the root over ``old_size`` leaves with the root over ``new_size`` leaves (RFC 9162, 2.1.4.1).

    Empty for old_size 0 and for equal sizes. Raises ``ValueError`` unless 0 <= old_size <= new_size <= leaves.
    """
    if not 0 <= old_size <= new_size <= len(leaf_hashes):
        msg = f"no consistency proof from {old_size} to {new_size} over {len(leaf_hashes)} leaves"
        raise ValueError(msg)
    if old_size in {0, new_size}:
        return ()
    proof: list[bytes] = []
    start, end, whole = 0, new_size, True
    while old_size != end:
        middle = start + (1 << (end - start - 1).bit_length() - 1)
        if old_size <= middle:
            proof.append(root(leaf_hashes[middle:end]))
            end = middle
        else:
            proof.append(root(leaf_hashes[start:middle]))
            start, whole = middle, False
    if not whole:
        proof.append(root(leaf_hashes[start:end]))
    return tuple(reversed(proof))


def check_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Check that the leaf hash stands at ``index`` of the tree of ``size`` leaves with this root (RFC 9162, 2.1.3.2).

    Raises ``InclusionError`` unless index < size, the proof has exactly the length that (index, size) demands, every
    hash has 32 bytes and the path leads to the root. ``size`` and ``root`` must come from one signed checkpoint: a path
    alone does not bind the size, since trees of other sizes can have a path of the same shape.
    """
    if not 0 <= index < size:
        raise InclusionError("leaf index outside the tree", expected=f"0 <= index < {size}", actual=index)
    length = _inclusion_length(index, size)
    if len(proof) != length:
        raise InclusionError("length of the inclusion proof", expected=length, actual=len(proof))
    if any(len(value) != HASH_SIZE for value in (leaf, *proof, root)):
        raise InclusionError("length of the hashes in an inclusion proof", expected=HASH_SIZE, actual="another length")
    value, last = leaf, size - 1
    position = 0
    while last:
        if index & 1:
            value = node_hash(proof[position], value)
            position += 1
        elif index < last:
            value = node_hash(value, proof[position])
            position += 1
        index, last = index >> 1, last >> 1
    if value != root:
        raise InclusionError("root of the inclusion proof", expected=root.hex(), actual=value.hex())


def check_consistency(old_size: int, new_size: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes) -> None:
    """Check that the tree of ``new_size`` leaves only appends to the tree of ``old_size`` (RFC 9162, 2.1.4.2).

    An empty old tree is a prefix of every tree, if its root is ``EMPTY_ROOT``. Raises ``ConsistencyError`` unless
    old_size <= new_size, the proof has exactly the length that the sizes demand, every hash has 32 bytes and both
    roots follow from it.
    """
    if not 0 <= old_size <= new_size:
        raise ConsistencyError("sizes of the trees", expected="0 <= old size <= new size", actual=(old_size, new_size))
    if any(len(value) != HASH_SIZE for value in (*proof, old_root, new_root)):
        raise ConsistencyError("length of the hashes in a consistency proof", expected=HASH_SIZE, actual="another")
    for size, value in ((old_size, old_root), (new_size, new_root)):
        if size == 0 and value != EMPTY_ROOT:
            raise ConsistencyError("root of the empty tree", expected=EMPTY_ROOT.hex(), actual=value.hex())
    if old_size in {0, new_size}:
        if proof:
            raise ConsistencyError("length of the consistency proof", expected=0, actual=len(proof))
        if old_size and old_root != new_root:
            raise ConsistencyError("roots of one size", expected=old_root.hex(), actual=new_root.hex())
        return
    _check_growth(old_size, new_size, proof, old_root, new_root)


def _check_growth(old_size: int, new_size: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes) -> None:
    """Fold a proof for 0 < old_size < new_size into both roots."""
    height = (old_size & -old_size).bit_length() - 1
    node, last = (old_size >> height) - 1, (new_size - 1) >> height
    seeded = old_size & (old_size - 1) != 0
    length = _inclusion_length(node, last + 1) + seeded
    if len(proof) != length:
        raise ConsistencyError("length of the consistency proof", expected=length, actual=len(proof))
    old = new = proof[0] if seeded else old_root
    position = 1 if seeded else 0
    while last:
        if node & 1:
            old, new = node_hash(proof[position], old), node_hash(proof[position], new)
            position += 1
        elif node < last:
            new = node_hash(new, proof[position])
            position += 1
        node, last = node >> 1, last >> 1
    if old != old_root:
        raise ConsistencyError("old root of the consistency proof", expected=old_root.hex(), actual=old.hex())
    if new != new_root:
        raise ConsistencyError("new root of the consistency proof", expected=new_root.hex(), actual=new.hex())


def _inclusion_length(index: int, size: int) -> int:
    """Count the siblings between a leaf and the root.

    Every level below the point where its path joins the last leaf's has one, and above it every left sibling.
    """
    inner = (index ^ (size - 1)).bit_length()
    return inner + (index >> inner).bit_count()


def _levels(leaf_hashes: Sequence[bytes]) -> list[list[bytes]]:
    """All levels from the leaves to the root; a lone last node is promoted, never paired with itself."""
    levels = [list(leaf_hashes)]
    while len(levels[-1]) > 1:
        below = levels[-1]
        above = [node_hash(below[i], below[i + 1]) for i in range(0, len(below) - 1, 2)]
        if len(below) & 1:
            above.append(below[-1])
        levels.append(above)
    return levels


def _fold(hashes: Sequence[bytes]) -> bytes:
    if not hashes:
        return EMPTY_ROOT
    value = hashes[-1]
    for left in reversed(hashes[:-1]):
        value = node_hash(left, value)
    return value
