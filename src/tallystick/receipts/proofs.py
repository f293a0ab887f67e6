"""The tree of a log in memory: appends, and proofs for any size it ever had.

Knows the roots of all perfect subtrees (about 64 bytes an entry), so that a root or a proof costs a few hashes at the
right edge and copies otherwise. Refuses to know entries, files and signatures. The strict verifiers are in
primitives.merkle.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final

from tallystick.primitives.merkle import EMPTY_ROOT, HASH_SIZE, CompactRange, node_hash

_sha256 = hashlib.sha256
_SIZE: Final = HASH_SIZE


class LogTree:
    """An RFC 6962 tree over leaf hashes of 32 bytes; ``size`` leaves."""

    __slots__ = ("_levels", "size")

    def __init__(self, leaf_hashes: Iterable[bytes] = ()) -> None:
        """Begin with these leaf hashes, in order."""
        # _levels[h] holds the roots of the perfect subtrees of height h, one after the other.
        self._levels: list[bytearray] = [bytearray()]
        self.size = 0
        self.extend(leaf_hashes)

    def append(self, leaf: bytes) -> int:
        """Add one leaf hash and return its index. Raises ``ValueError`` unless it has 32 bytes."""
        if len(leaf) != _SIZE:
            msg = f"a leaf hash has {_SIZE} bytes, not {len(leaf)}"
            raise ValueError(msg)
        levels, index, height = self._levels, self.size, 0
        levels[0] += leaf
        carry, value = index, leaf
        while carry & 1:
            value = _sha256(b"\x01" + levels[height][-2 * _SIZE : -_SIZE] + value).digest()
            height += 1
            carry >>= 1
            if height == len(levels):
                levels.append(bytearray())
            levels[height] += value
        self.size = index + 1
        return index

    def extend(self, leaf_hashes: Iterable[bytes]) -> None:
        """Add leaf hashes in order."""
        for leaf in leaf_hashes:
            self.append(leaf)

    def extend_packed(self, leaves: bytes | memoryview) -> None:
        """Add leaf hashes that lie one behind the other, 32 bytes each; faster than one by one.

        Raises ``ValueError`` unless they fill the bytes.
        """
        if len(leaves) % _SIZE:
            msg = f"{len(leaves)} bytes are no row of leaf hashes"
            raise ValueError(msg)
        levels = self._levels
        levels[0] += leaves
        self.size += len(leaves) // _SIZE
        height = 0
        while self.size >> height + 1:
            if height + 1 == len(levels):
                levels.append(bytearray())
            done, pairs = len(levels[height + 1]) // _SIZE, self.size >> height + 1
            with memoryview(levels[height]) as level:
                fresh = [
                    _sha256(b"\x01" + level[at : at + 2 * _SIZE]).digest()
                    for at in range(2 * _SIZE * done, 2 * _SIZE * pairs, 2 * _SIZE)
                ]
            levels[height + 1] += b"".join(fresh)
            height += 1

    def truncate(self, size: int) -> None:
        """Forget every leaf from ``size`` on: what a batch that did not become durable needs.

        Raises ``ValueError`` unless 0 <= size <= current size.
        """
        self._check_size(size)
        for height, level in enumerate(self._levels):
            del level[(size >> height) * _SIZE :]
        while len(self._levels) > 1 and not self._levels[-1]:
            self._levels.pop()
        self.size = size

    def leaf(self, index: int) -> bytes:
        """Return the leaf hash at ``index``. Raises ``ValueError`` outside the tree."""
        if not 0 <= index < self.size:
            msg = f"no leaf {index} in a tree of {self.size}"
            raise ValueError(msg)
        return self._node(0, index)

    def subtree_roots(self, height: int, start: int, end: int) -> bytes:
        """Concatenate the roots of the perfect subtrees ``start`` .. ``end - 1`` of this height (a tile's bytes).

        Raises ``ValueError`` when the tree does not have them all.
        """
        if not 0 <= start <= end <= self.size >> height:
            msg = f"no perfect subtrees {start} to {end} of height {height} in a tree of {self.size}"
            raise ValueError(msg)
        return bytes(self._levels[height][start * _SIZE : end * _SIZE]) if start < end else b""

    def root(self, size: int | None = None) -> bytes:
        """Root over the first ``size`` leaves (default: all), 32 bytes."""
        size = self._check_size(size)
        return self._range_root(0, size) if size else EMPTY_ROOT

    def compact_range(self, size: int | None = None) -> CompactRange:
        """The first ``size`` leaves (default: all) as a compact range."""
        size = self._check_size(size)
        return CompactRange(size, tuple(self._peaks(0, size)))

    def inclusion(self, index: int, size: int | None = None) -> tuple[bytes, ...]:
        """Siblings of the leaf at ``index`` in the tree of ``size`` leaves, leaf first (RFC 9162, section 2.1.3.1).

        Raises ``ValueError`` unless 0 <= index < size <= current size.
        """
        size = self._check_size(size)
        if not 0 <= index < size:
            msg = f"no leaf {index} in a tree of {size}"
            raise ValueError(msg)
        return tuple(self._path(index, 0, size))

    def consistency(self, old_size: int, new_size: int | None = None) -> tuple[bytes, ...]:
        """Hashes that connect the trees of two sizes (RFC 9162, section 2.1.4.1); none for old size 0 or equal sizes.

        Raises ``ValueError`` unless 0 <= old size <= new size <= current size.
        """
        new_size = self._check_size(new_size)
        if not 0 <= old_size <= new_size:
            msg = f"no consistency proof from {old_size} to {new_size}"
            raise ValueError(msg)
        if old_size in {0, new_size}:
            return ()
        height = (old_size & -old_size).bit_length() - 1
        node = (old_size >> height) - 1
        seed = [self._node(height, node)] if node else []
        return (*seed, *self._path(node, height, new_size))

    def _path(self, node: int, height: int, size: int) -> Iterable[bytes]:
        """Siblings from a perfect subtree up to the root over ``size`` leaves."""
        last = (size - 1) >> height
        while last:
            if node & 1:
                yield self._node(height, node - 1)
            elif node < last:
                yield self._range_root(node + 1 << height, min(node + 2 << height, size))
            node, last, height = node >> 1, last >> 1, height + 1

    def _node(self, height: int, index: int) -> bytes:
        at = index * _SIZE
        return bytes(self._levels[height][at : at + _SIZE])

    def _range_root(self, start: int, end: int) -> bytes:
        """Root over leaves start .. end - 1 where ``start`` is aligned to the range's largest perfect subtree."""
        peaks = self._peaks(start, end)
        value = peaks.pop()
        while peaks:
            value = node_hash(peaks.pop(), value)
        return value

    def _peaks(self, start: int, end: int) -> list[bytes]:
        """Roots of the perfect subtrees that make up the range, largest first."""
        peaks = []
        while start < end:
            height = (end - start).bit_length() - 1
            peaks.append(self._node(height, start >> height))
            start += 1 << height
        return peaks

    def _check_size(self, size: int | None) -> int:
        if size is None:
            return self.size
        if not 0 <= size <= self.size:
            msg = f"no tree of {size} leaves; this one has {self.size}"
            raise ValueError(msg)
        return size
