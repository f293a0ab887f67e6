"""CARv1: blocks one after the other behind the CID of their root, written as a stream and read with bounds.

Knows the header with one root in its canonical dag-cbor, and sections of length, CID and block. Refuses to know what
blocks mean. Source: https://ipld.io/specs/transport/car/carv1/. Specification: docs/spec/unixfs-car.md.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Final

from tallystick.errors import MalformedError, TooLargeError, VerificationError
from tallystick.primitives import varint
from tallystick.primitives.cids import CID_BYTES, Cid

BLOCK_BYTES_MAX: Final = 1 << 21
"""Larger blocks are not exchanged between IPFS implementations either."""

# dag-cbor: a map of "roots" (a list of one link: tag 42 over a byte string that begins with zero) and "version" (1).
_ROOTS: Final = b"\xa2\x65roots\x81\xd8\x2a"
_VERSION: Final = b"\x67version\x01"
_CBOR_BYTES: Final = 0x40
_CBOR_SHORT: Final = 24
_HEADER_BYTES: Final = len(_ROOTS) + 3 + CID_BYTES + len(_VERSION)


def header(root: bytes) -> bytes:
    """Return the header for one root, given as the bytes of its CID (fewer than 256)."""
    link = b"\0" + root
    length = bytes((_CBOR_BYTES + len(link),)) if len(link) < _CBOR_SHORT else bytes((0x58, len(link)))
    body = _ROOTS + length + link + _VERSION
    return varint.encode(len(body)) + body


def section(cid: Cid, block: bytes) -> bytes:
    """Return one block as it stands in a CAR."""
    return varint.encode(CID_BYTES + len(block)) + cid.encode() + block


def write(root: Cid, blocks: Iterable[tuple[Cid, bytes]]) -> Generator[bytes, None, None]:
    """Yield a CAR: the header, then one section per block, in the order given; nothing is checked."""
    yield header(root.encode())
    for cid, block in blocks:
        yield section(cid, block)


def length(root: Cid, sizes: Iterable[int]) -> int:
    """Return how many bytes ``write`` yields for blocks of these sizes."""
    return len(header(root.encode())) + sum(len(varint.encode(CID_BYTES + size)) + CID_BYTES + size for size in sizes)


class CarReader:
    """Reads a CAR block by block; holds one at a time, and checks each against its CID."""

    def __init__(self, read: Callable[[int], bytes], *, bytes_max: int, block_bytes_max: int = BLOCK_BYTES_MAX) -> None:
        """Read the header; ``read(n)`` gives up to n bytes, fewer only at the end.

        Raises:
            MalformedError: this is no CARv1 with one root.
        """
        self._read, self._left, self._block_bytes_max = read, bytes_max, block_bytes_max
        body = self._take(self._size() or 0, _HEADER_BYTES, "header")
        start, end = len(_ROOTS) + 3, len(_ROOTS) + 3 + CID_BYTES
        self.root: Final = Cid.decode(body[start:end])
        """The CID that the header names."""
        if header(self.root.encode()) != varint.encode(len(body)) + body:
            raise MalformedError("CAR", "its header is not the canonical one of version 1 with one root")

    def __iter__(self) -> Iterator[tuple[Cid, bytes]]:
        """Yield CIDs with blocks, as they come.

        Raises ``VerificationError`` for a block that its CID does not name, ``MalformedError`` when the bytes end
        within a section, ``TooLargeError`` above the limits.
        """
        while (size := self._size()) is not None:
            data = self._take(size, self._block_bytes_max + CID_BYTES, "section")
            cid = Cid.decode(data[:CID_BYTES])
            block = data[CID_BYTES:]
            cid.check(block)
            yield cid, block

    def in_order(self) -> Callable[[Cid], bytes]:
        """Return what gives the next block, which must be the one asked for: how ``unixfs.content`` walks a CAR.

        It raises ``VerificationError`` when another block comes or none.
        """
        sections = iter(self)

        def get(cid: Cid) -> bytes:
            found, block = next(sections, (None, b""))
            if found != cid:
                raise VerificationError("next block of the CAR", expected=cid, actual=found or "the end")
            return block

        return get

    def _size(self) -> int | None:
        """Length of the next section, None at the end."""
        data = b""
        while len(data) < varint.BYTES_MAX:
            byte = self._read(1)
            if not byte:
                break
            data += byte
            if byte < b"\x80":
                break
        if not data:
            return None
        value, _ = varint.decode(data)
        self._left -= len(data)
        return value

    def _take(self, size: int, limit: int, what: str) -> bytes:
        if size > min(limit, self._left):
            raise TooLargeError("CAR", f"a {what} of {size} bytes, the limit is {limit}, and {self._left} for the rest")
        data = self._read(size)
        if len(data) != size:
            raise MalformedError("CAR", f"it ends within a {what}: {len(data)} of {size} bytes")
        self._left -= size
        return data
