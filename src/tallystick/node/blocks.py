"""Blocks by CID: entries of the log, blobs by their own digest, and delivered files by the root of their UnixFS tree.

Entries are everybody's; blobs and files belong to whom ``may`` says, and to everybody else they do not exist. A file's
tree is made when somebody who may read it asks for a block that stands nowhere else; it is kept without its leaves.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, Final, Protocol

from tallystick.errors import VerificationError
from tallystick.node.public_log import LogSource
from tallystick.primitives import car
from tallystick.primitives.cids import Cid, Codec
from tallystick.primitives.unixfs import FileTree, Place, TreeBuilder

PIECE_BYTES: Final = 1 << 18

May = Callable[[bytes], bool]
"""Tells whether the asker may read what has this SHA-256."""


class ReadableBlobs(Protocol):
    """Content-addressed bytes."""

    def get(self, digest: bytes) -> bytes | None:
        """Return bytes whose SHA-256 was checked, or None."""
        ...


@dataclass(frozen=True, slots=True)
class Artifact:
    """A delivered file: the SHA-256 of its bytes, and how to open it (``OSError`` when it is gone)."""

    digest: bytes
    open: Callable[[], BinaryIO]


@dataclass(frozen=True, slots=True)
class Block:
    """One block, and what lies below it; ``public`` says that everybody may know of it."""

    cid: Cid
    data: bytes
    public: bool = False
    file: tuple[Artifact, FileTree, Place] | None = field(default=None, repr=False)

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
        artifact, tree, start = self.file
        with artifact.open() as file:
            file.seek(start.offset)
            yield from car.write(self.cid, tree.blocks(file.read, start))


class Blocks:
    """Finds blocks; any thread may ask."""

    def __init__(
        self,
        log: LogSource,
        blobs: ReadableBlobs | None = None,
        artifacts: Callable[[], Iterable[Artifact]] = tuple,
    ) -> None:
        """Look into the log, then into blobs, then into the files that ``artifacts`` names at the moment."""
        self._log, self._blobs, self._artifacts = log, blobs, artifacts
        self._trees: dict[bytes, FileTree] = {}
        self._lock = threading.Lock()

    def find(self, cid: Cid, may: May) -> Block | None:
        """Return a block, None where there is none that the asker may know of."""
        if cid.codec is Codec.RAW:
            index = self._log.index_of(cid.digest)
            if index is not None:
                return Block(cid, self._log.entry(index), public=True)
            if self._blobs is not None and may(cid.digest):
                data = self._blobs.get(cid.digest)
                if data is not None:
                    return Block(cid, data)
        return self._in_a_file(cid, may)

    def tree(self, artifact: Artifact) -> FileTree:
        """Return the tree of a file, made once; reading a gigabyte takes about a second.

        Raises:
            VerificationError: the file is not the one that was delivered.
        """
        with self._lock:
            held = self._trees.get(artifact.digest)
            if held is None:
                held = self._trees[artifact.digest] = _tree_of(artifact)
            return held

    def _in_a_file(self, cid: Cid, may: May) -> Block | None:
        """Look into every file that the asker may read; one that is gone or changed has no blocks."""
        for artifact in self._artifacts():
            if not may(artifact.digest):
                continue
            try:
                tree = self.tree(artifact)
                place = tree.find(cid)
                if place is not None:
                    return Block(cid, _read(artifact, tree, place), file=(artifact, tree, place))
            except (OSError, VerificationError):
                continue
        return None


def _tree_of(artifact: Artifact) -> FileTree:
    builder = TreeBuilder()
    with artifact.open() as file:
        while piece := file.read(PIECE_BYTES):
            builder.update(piece)
    return builder.finish()


def _read(artifact: Artifact, tree: FileTree, place: Place) -> bytes:
    if place.height:
        return tree.node(place)
    with artifact.open() as file:
        file.seek(place.offset)
        data = file.read(place.length)
    place.cid.check(data)
    return data
