"""Content-addressed bytes in a folder, laid one behind the other in a few large files (packs).

Knows files; refuses to know what the bytes are. A block written into space that its file already has costs a fifth of
a block written into a file of its own, and a job has thousands of blocks. A pack is a row of records: a head (mark,
SHA-256, length), then the bytes.

``put`` flushes nothing: a local worker's blocks can be computed again, and ``get`` hashes what it reads, so a blob that
a power cut lost or tore is simply absent. ``flush`` flushes what cannot be had again, before anybody relies on it.
After a crash the heads tell what is there; what they name is read once before it counts. A pack goes with its last
blob.
"""

from __future__ import annotations

import hashlib
import os
import struct
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tallystick.errors import StoreError
from tallystick.node.grouped import Grouped

PACK_BYTES: Final = 1 << 28
"""A pack that has grown to this takes no more blobs."""
ROOM_BYTES: Final = 1 << 25
"""Space is asked of the file system in steps of this."""

_HEAD: Final = struct.Struct(">4s32sQ")
_KEPT: Final = b"blob"
_GONE: Final = b"gone"


@dataclass(slots=True)
class _Pack:
    """One open file: where the next record goes, how far space is there, how many of its blobs are wanted.

    ``written`` says that something may not be flushed yet, ``refused`` that flushing failed: the system may then have
    dropped what it could not write, and a second flush that succeeds would prove nothing.
    """

    path: Path
    file: int
    end: int = 0
    room: int = 0
    kept: int = 0
    written: bool = True
    refused: bool = False


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a record begins, and how long its blob is."""

    pack: _Pack
    offset: int
    length: int


class FolderBlobs:
    """A folder of packs; several threads may use it at once, one process at a time."""

    def __init__(self, folder: Path) -> None:
        """Use a folder, made with mode 0700 when it is not there, and find what an earlier process left.

        Raises:
            StoreError: the folder cannot be used.
        """
        self._folder = folder
        self._lock = threading.Lock()
        self._places: dict[bytes, _Place] = {}
        self._unread: set[bytes] = set()
        self._packs: list[_Pack] = []
        self._open: _Pack | None = None
        self._named, self._closed = True, False
        self._flush = Grouped[None](self._flush_packs)
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            for path in sorted(folder.glob("*.pack")):
                self._find(path)
        except OSError as error:
            raise StoreError(f"the blobs in {folder.name} cannot be used: {error.strerror}") from error

    def put(self, digest: bytes, data: bytes) -> None:
        """Keep bytes under their SHA-256, which the caller computed.

        Raises:
            StoreError: the disk is full or fails.
        """
        if self.has(digest):
            return
        try:
            with self._lock:
                place = self._reserve(digest, len(data))
                file = os.dup(place.pack.file)
            self._fill(digest, place, data, file)
        except OSError as error:
            raise StoreError(f"a blob of {len(data)} bytes could not be written: {error.strerror}") from error

    def _fill(self, digest: bytes, place: _Place, data: bytes, file: int) -> None:
        """Write the bytes behind their head; the space is given up when that fails."""
        whole = False
        try:
            _write(file, data, place.offset + _HEAD.size)
            whole = True
        finally:
            os.close(file)
            with self._lock:
                place.pack.written = True
                # Another thread may have brought the same bytes meanwhile; the first stay.
                if not self._closed and (not whole or self._places.setdefault(digest, place) is not place):
                    self._drop(place)

    def get(self, digest: bytes) -> bytes | None:
        """Return bytes whose SHA-256 was checked again, or None when they are absent or damaged."""
        with self._lock:
            place = self._places.get(digest)
            if place is None:
                return None
            # A descriptor of its own: another thread may delete the blob, and its pack, while this one reads.
            file = os.dup(place.pack.file)
        try:
            data = os.pread(file, place.length, place.offset + _HEAD.size)
        finally:
            os.close(file)
        if hashlib.sha256(data).digest() == digest:
            self._unread.discard(digest)
            return data
        self._forget(digest, place)
        return None

    def has(self, digest: bytes) -> bool:
        """Tell whether bytes are kept; those that an earlier process left are read once."""
        return self.get(digest) is not None if digest in self._unread else digest in self._places

    def flush(self) -> None:
        """Let everything that was put survive a power cut; callers at one time share the flushes.

        Raises:
            StoreError: the disk failed, now or at an earlier flush; what is in doubt stays in doubt until a restart.
        """
        self._flush(None)

    def _flush_packs(self, _callers: Sequence[None]) -> None:
        """Flush every pack that was written to, and the folder when it has a new one."""
        with self._lock:
            if any(pack.refused for pack in self._packs):
                raise StoreError("the disk refused to flush blobs: restart the node, and have them sent again")
            waiting = [(pack, os.dup(pack.file)) for pack in self._packs if pack.written]
            for pack, _ in waiting:
                pack.written = False
            named, self._named = self._named, True
        try:
            while waiting:
                pack, file = waiting[-1]
                pack.refused = True
                os.fsync(file)
                pack.refused = False
                os.close(waiting.pop()[1])
            if not named:
                _sync_folder(self._folder)
        except OSError as error:
            self._named = False
            raise StoreError(f"the blobs could not be flushed: {error.strerror}") from error
        finally:
            for pack, file in waiting:
                pack.written = True
                os.close(file)

    def delete(self, digest: bytes) -> None:
        """Forget bytes; absent ones are no error."""
        self._forget(digest, None)

    def digests(self) -> frozenset[bytes]:
        """Return the SHA-256 of everything that is kept."""
        with self._lock:
            return frozenset(self._places)

    def _forget(self, digest: bytes, place: _Place | None) -> None:
        """Forget bytes, wherever they lie or only if they lie here."""
        with self._lock:
            held = self._places.get(digest)
            if held is not None and (place is None or held is place):
                del self._places[digest]
                self._unread.discard(digest)
                self._drop(held)

    def close(self) -> None:
        """Give back space that no blob took, and close the files; what is put later is refused."""
        with self._lock:
            self._closed = True
            self._places.clear()
            self._unread.clear()
            for pack in self._packs:
                if pack.room > pack.end:
                    os.ftruncate(pack.file, pack.end)
                os.close(pack.file)
            self._packs.clear()
            self._open = None

    def _reserve(self, digest: bytes, length: int) -> _Place:
        """Take the place of the next record and write its head, so that heads never come after what follows them."""
        if self._closed:
            raise StoreError("a blob came after the blobs were closed")
        pack, size = self._open, _HEAD.size + length
        if pack is None or pack.end >= PACK_BYTES:
            pack = self._open = self._begin()
        if pack.end + size > pack.room:
            wanted = max(ROOM_BYTES, size)
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(pack.file, pack.room, wanted)
            pack.room += wanted
        place = _Place(pack, pack.end, length)
        _write(pack.file, _HEAD.pack(_KEPT, digest, length), pack.end)
        pack.end += size
        pack.kept += 1
        return place

    def _begin(self) -> _Pack:
        number = 1 + max((int(pack.path.stem) for pack in self._packs), default=0)
        path = self._folder / f"{number:06d}.pack"
        pack = _Pack(path, os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        self._packs.append(pack)
        self._named = False
        return pack

    def _drop(self, place: _Place) -> None:
        """Mark a record as gone, and delete its pack when it was the last."""
        pack = place.pack
        pack.kept -= 1
        if pack.kept:
            _write(pack.file, _GONE, place.offset)
            return
        self._packs.remove(pack)
        if pack is self._open:
            self._open = None
        os.close(pack.file)
        pack.path.unlink(missing_ok=True)

    def _find(self, path: Path) -> None:
        """Read the heads of a pack that an earlier process wrote; nothing is added to it any more."""
        pack = _Pack(path, os.open(path, os.O_RDWR))
        size = os.fstat(pack.file).st_size
        while pack.end + _HEAD.size <= size:
            mark, digest, length = _HEAD.unpack(os.pread(pack.file, _HEAD.size, pack.end))
            if mark not in {_KEPT, _GONE} or length > size:
                break
            if mark == _KEPT and digest not in self._places:
                self._places[digest] = _Place(pack, pack.end, length)
                self._unread.add(digest)
                pack.kept += 1
            pack.end += _HEAD.size + length
        if pack.kept:
            self._packs.append(pack)
        else:
            os.close(pack.file)
            path.unlink()


def _write(file: int, data: bytes, offset: int) -> None:
    """Write all of it: the system may take less at a time."""
    view = memoryview(data)
    while view:
        written = os.pwrite(file, view, offset)
        view, offset = view[written:], offset + written


def _sync_folder(path: Path) -> None:
    """Let the names of new files survive a power cut."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
