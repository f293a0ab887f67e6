"""A file as a tree of blocks, the way IPFS names it: UnixFS over dag-pb, in one profile.

Knows chunks of 262,144 bytes as raw leaves, up to 174 links a node, balanced, CIDv1, the canonical order of dag-pb
(links before data). A file of one chunk is its raw block. Nodes take about 1/5,000 of the file, leaves are never held.
Refuses to know directories, other layouts, and where bytes come from. Specification: docs/spec/unixfs-car.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from tallystick.errors import MalformedError, NotCanonicalError, TooLargeError, VerificationError
from tallystick.primitives import varint
from tallystick.primitives.canonical import INTEGER_MAX
from tallystick.primitives.cids import CID_BYTES, Cid, Codec

CHUNK_BYTES: Final = 262_144
LINKS_MAX: Final = 174
PROFILE: Final = "unixfs-v1 chunks-262144 raw-leaves balanced-174 sha2-256 cidv1"
"""Stands beside every CID of a file above one chunk, which is no function of the content alone."""
NODE_BYTES_MAX: Final = 1 << 20
DEPTH_MAX: Final = 8

_HASH, _NAME, _TREE_SIZE = b"\x0a", b"\x12\x00", b"\x18"  # fields of a dag-pb link
_LINK, _DATA = b"\x12", b"\x0a"  # fields of a dag-pb node
_FILE, _SIZE, _BLOCK_SIZE = b"\x08\x02", b"\x18", b" "  # fields of a UnixFS file


@dataclass(frozen=True, slots=True)
class Link:
    """A child: its name, the bytes of all blocks below and including it, and the bytes of the file that it holds."""

    cid: Cid
    tree_bytes: int
    content_bytes: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where a block stands in a tree: leaves have height 0; below it lie ``length`` bytes from ``offset`` on."""

    cid: Cid
    height: int
    index: int
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class FileTree:
    """The tree of one file without its leaves.

    ``levels[0]`` are the nodes over the leaves, the last level is the root alone; a file of one chunk has no levels.
    """

    root: Cid
    size: int
    levels: tuple[tuple[bytes, ...], ...] = ()
    chunk: int = CHUNK_BYTES
    width: int = LINKS_MAX

    @property
    def top(self) -> Place:
        """Where the root stands."""
        return Place(self.root, len(self.levels), 0, 0, self.size)

    def node(self, place: Place) -> bytes:
        """Return the block of a node, which is no leaf."""
        return self.levels[place.height - 1][place.index]

    def places(self, start: Place | None = None) -> Iterator[Place]:
        """Yield every place below one (default: the root), itself first: the order of a CAR.

        That is depth first, and a block again wherever it occurs again; leaves come in the order of the file.
        """
        place = start or self.top
        yield place
        if place.height:
            for child in self._children(place):
                yield from self.places(child)

    def blocks(self, read: Callable[[int], bytes], start: Place | None = None) -> Iterator[tuple[Cid, bytes]]:
        """Yield every block in the order of ``places``.

        ``read(n)`` gives the file's next n bytes, beginning at the start's offset. Raises ``VerificationError`` when
        they are not the file's any more.
        """
        for place in self.places(start):
            if place.height:
                yield place.cid, self.node(place)
            else:
                block = read(place.length)
                place.cid.check(block)
                yield place.cid, block

    def find(self, cid: Cid) -> Place | None:
        """Return a place where a block stands, None for a block of another file."""
        if cid == self.root:
            return self.top
        name = cid.encode()
        for height, level in enumerate(self.levels, 1):
            for index, node in enumerate(level):
                if name in node:  # a search over the bytes first: parsing every node would take a hundred times longer
                    found = next(
                        (each for each in self._children(Place(cid, height, index, 0, 0)) if each.cid == cid), None
                    )
                    if found is not None:
                        return found
        return None

    def _children(self, place: Place) -> Iterator[Place]:
        height = place.height - 1
        span = self.chunk * self.width**height
        for index, link in enumerate(parse_node(self.node(place)), place.index * self.width):
            yield Place(link.cid, height, index, index * span, link.content_bytes)


class TreeBuilder:
    """Makes the tree of a file from its bytes in pieces of any length; holds nodes, and never a chunk."""

    def __init__(self, chunk: int = CHUNK_BYTES, width: int = LINKS_MAX) -> None:
        """Begin an empty file; another chunk or width than the profile's gives other CIDs (``width`` at least 2)."""
        self._chunk, self._width = chunk, width
        self._size = self._taken = 0
        self._hash = hashlib.sha256()
        self._levels: list[list[bytes]] = []
        self._open: list[list[Link]] = [[]]

    def update(self, data: bytes) -> None:
        """Take the next bytes of the file."""
        view = memoryview(data)
        while view:
            part = view[: self._chunk - self._taken]
            self._hash.update(part)
            self._taken += len(part)
            view = view[len(part) :]
            if self._taken == self._chunk:
                self._close_leaf()

    def finish(self) -> FileTree:
        """Return the tree; nothing may be added afterwards."""
        if self._taken or not self._size:
            self._close_leaf()
        height = 0
        while self._levels[height:] or len(self._open[height]) > 1:
            self._close_node(height)
            height += 1
        root = self._open[height][0].cid
        return FileTree(root, self._size, tuple(map(tuple, self._levels)), self._chunk, self._width)

    def _close_leaf(self) -> None:
        self._add(0, Link(Cid(Codec.RAW, self._hash.digest()), self._taken, self._taken))
        self._size += self._taken
        self._hash, self._taken = hashlib.sha256(), 0

    def _add(self, height: int, link: Link) -> None:
        """Put a child into the open node of a level, and close that node when it is full."""
        if height == len(self._open):
            self._open.append([])
        self._open[height].append(link)
        if len(self._open[height]) == self._width:
            self._close_node(height)

    def _close_node(self, height: int) -> None:
        links = self._open[height]
        if not links:
            return
        self._open[height] = []
        if height == len(self._levels):
            self._levels.append([])
        block = encode_node(links)
        self._levels[height].append(block)
        total = sum(link.content_bytes for link in links)
        tree = len(block) + sum(link.tree_bytes for link in links)
        self._add(height + 1, Link(Cid.of(Codec.DAG_PB, block), tree, total))


def file_tree(pieces: Iterable[bytes]) -> FileTree:
    """Return the tree of a file given in pieces of any length."""
    builder = TreeBuilder()
    for piece in pieces:
        builder.update(piece)
    return builder.finish()


def encode_node(links: Sequence[Link]) -> bytes:
    """Encode the node of a file over its children: links first, then the UnixFS data."""
    out, sizes = bytearray(), bytearray()
    for link in links:
        body = _HASH + varint.encode(CID_BYTES) + link.cid.encode() + _NAME + _TREE_SIZE
        body += varint.encode(link.tree_bytes)
        out += _LINK + varint.encode(len(body)) + body
        sizes += _BLOCK_SIZE + varint.encode(link.content_bytes)
    data = _FILE + _SIZE + varint.encode(sum(link.content_bytes for link in links)) + sizes
    return bytes(out + _DATA + varint.encode(len(data)) + data)


def parse_node(block: bytes) -> tuple[Link, ...]:
    """Read the node of a file. Raises ``MalformedError`` for every block that ``encode_node`` would not write."""
    if len(block) > NODE_BYTES_MAX:
        raise TooLargeError("dag-pb node", f"{len(block)} bytes, the limit is {NODE_BYTES_MAX}")
    fields, sizes = _node_fields(block)
    if len(fields) != len(sizes):
        raise MalformedError("dag-pb node", f"{len(fields)} links and {len(sizes)} sizes of blocks")
    if sum(sizes) > INTEGER_MAX:
        raise TooLargeError("dag-pb node", f"a file of {sum(sizes)} bytes, the limit is {INTEGER_MAX}")
    links = tuple(Link(cid, tree, size) for (cid, tree), size in zip(fields, sizes, strict=True))
    if encode_node(links) != block:
        raise NotCanonicalError("dag-pb node", "it is not the one encoding of a UnixFS file's node")
    return links


def content(root: Cid, get: Callable[[Cid], bytes]) -> Iterator[bytes]:
    """Yield the bytes of a file, leaf by leaf, from blocks that anybody supplies; each one is checked.

    ``get`` is asked depth first, again for a block that occurs again. Raises ``VerificationError`` for a block that is
    not the named one or does not hold the promised number of bytes, ``MalformedError`` for a node of another kind.
    """
    return _content(root, None, get, DEPTH_MAX)


def _content(cid: Cid, length: int | None, get: Callable[[Cid], bytes], depth: int) -> Iterator[bytes]:
    block = get(cid)
    cid.check(block)
    if cid.codec is Codec.RAW:
        _check_length(cid, length, len(block))
        yield block
        return
    if cid.codec is not Codec.DAG_PB or not depth:
        raise MalformedError("file", f"{cid} is no dag-pb node within {DEPTH_MAX} levels")
    links = parse_node(block)
    _check_length(cid, length, sum(link.content_bytes for link in links))
    for link in links:
        yield from _content(link.cid, link.content_bytes, get, depth - 1)


def _check_length(cid: Cid, expected: int | None, actual: int) -> None:
    if expected is not None and expected != actual:
        raise VerificationError(f"bytes of the file below {cid}", expected=expected, actual=actual)


def _node_fields(block: bytes) -> tuple[list[tuple[Cid, int]], list[int]]:
    """Links with the size of their trees, and the sizes of their contents; the caller encodes again and compares."""
    links, position = [], 0
    while block[position : position + 1] == _LINK:
        length, start = varint.decode(block, position + 1)
        position = start + length
        links.append(_parse_link(block[start:position]))
    if block[position : position + 1] != _DATA:
        raise MalformedError("dag-pb node", f"no UnixFS data at byte {position}")
    _, start = varint.decode(block, position + 1)
    if block[start : start + 2] != _FILE or block[start + 2 : start + 3] != _SIZE:
        raise MalformedError("dag-pb node", "it is no UnixFS file")
    _, position = varint.decode(block, start + 3)
    sizes = []
    while block[position : position + 1] == _BLOCK_SIZE:
        size, position = varint.decode(block, position + 1)
        sizes.append(size)
    return links, sizes


def _parse_link(body: bytes) -> tuple[Cid, int]:
    prefix = _HASH + bytes((CID_BYTES,))
    end = len(prefix) + CID_BYTES
    if not body.startswith(prefix) or body[end : end + 3] != _NAME + _TREE_SIZE:
        raise MalformedError("dag-pb link", f"{body[:48].hex()} is not hash, empty name and size")
    return Cid.decode(body[len(prefix) : end]), varint.decode(body, end + 3)[0]
