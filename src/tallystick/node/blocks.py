"""Blocks by CID: entries of the log, blobs by their own digest, and delivered files by the root of their UnixFS tree.

Entries are everybody's; blobs and files belong to whom the asker's ``Rights`` say, and to everybody else they do not
exist. A file's tree is made when its root is asked for, which comes before every other block; a few are kept, without
their leaves.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from tallystick.errors import VerificationError
from tallystick.node.public_log import LogSource
from tallystick.primitives import car
from tallystick.primitives.cids import Cid, Codec
from tallystick.primitives.unixfs import FileTree, Place, TreeBuilder

PIECE_BYTES: Final = 1 << 18

TREES_MAX: Final = 64
"""So many files may be fetched block by block at one time before one of them has to be read again."""

Opener = Callable[[], BinaryIO]
"""Opens a file; ``OSError`` when it is gone."""


@dataclass(frozen=True, slots=True)
class Rights:
    """What one asker may read: ``blob`` by SHA-256, ``file`` by the root of its tree (None: it may not, or none is)."""

    blob: Callable[[bytes], bool]
    file: Callable[[Cid], Opener | None]


class ReadableBlobs(Protocol):
    """Content-addressed bytes."""

    def get(self, digest: bytes) -> bytes | None:
        """Return bytes whose SHA-256 was checked, or None."""
        ...


@dataclass(frozen=True, slots=True)
class Block:
    """One block, and what lies below it; ``public`` says that everybody may know of it."""

    cid: Cid
    data: bytes
    public: bool = False
    file: tuple[Opener, FileTree, Place] | None = field(default=None, repr=False)

    def sizes(self) -> Iterator[int]:
        """Yield the sizes of the blocks in the order of a CAR."""
        if self.file is None:
            yield len(self.data)
            return
        _, tree, start = self.file
        for place in tree.places(start):
            yield len(tree.node(place)) if place.height else place.length

    def car(self) -> Generator[bytes, None, None]:
        """Yield a CAR of the block and all below it; the file is read as it goes.

        Raises ``VerificationError`` or ``OSError`` when the file changed or went away meanwhile.
        """
        if self.file is None:
            yield from car.write(self.cid, [(self.cid, self.data)])
            return
        opener, tree, start = self.file
        with opener() as file:
            file.seek(start.offset)
            yield from car.write(self.cid, tree.blocks(file.read, start))


class Blocks:
    """Finds blocks; any thread may ask."""

    def __init__(self, log: LogSource, blobs: ReadableBlobs | None = None) -> None:
        """Look into the log, then into blobs, then into files."""
        self._log, self._blobs = log, blobs
        self._trees: dict[Cid, FileTree] = {}
        self._lock = threading.Lock()

    def find(self, cid: Cid, rights: Rights) -> Block | None:
        """Return a block, None where there is none that the asker may know of."""
        if cid.codec is Codec.RAW:
            index = self._log.index_of(cid.digest)
            if index is not None:
                return Block(cid, self._log.entry(index), public=True)
            data = self._blobs.get(cid.digest) if self._blobs is not None and rights.blob(cid.digest) else None
            if data is not None:
                return Block(cid, data)
        with self._lock:
            held = list(self._trees)
        found = (self._in_file(root, cid, rights) for root in (cid, *held))
        return next((block for block in found if block is not None), None)

    def _in_file(self, root: Cid, cid: Cid, rights: Rights) -> Block | None:
        """Look into the file with this root; one that is gone, or another by now, has no blocks."""
        opener = rights.file(root)
        if opener is None:
            return None
        try:
            tree = self._tree(root, opener)
            place = tree.find(cid)
            return None if place is None else Block(cid, _read(opener, tree, place), file=(opener, tree, place))
        except (OSError, VerificationError):
            return None

    def _tree(self, root: Cid, opener: Opener) -> FileTree:
        with self._lock:
            held = self._trees.pop(root, None)
        tree = tree_of(opener) if held is None else held
        if tree.root != root:
            raise VerificationError("root of the file", expected=root, actual=tree.root)
        with self._lock:
            self._trees[root] = tree
            while len(self._trees) > TREES_MAX:
                del self._trees[next(iter(self._trees))]
        return tree


def opener_of(path: Path) -> Opener:
    """Return what opens the file under a path."""

    def opened() -> BinaryIO:
        return path.open("rb")

    return opened


def tree_of(opener: Opener) -> FileTree:
    """Return the tree of a file; a gigabyte takes about a second. Raises ``OSError`` when it cannot be read."""
    builder = TreeBuilder()
    with opener() as file:
        while piece := file.read(PIECE_BYTES):
            builder.update(piece)
    return builder.finish()


def _read(opener: Opener, tree: FileTree, place: Place) -> bytes:
    if place.height:
        return tree.node(place)
    with opener() as file:
        file.seek(place.offset)
        data = file.read(place.length)
    place.cid.check(data)
    return data
