"""Content-addressed bytes in a folder, laid one behind the other in a few large files (packs).

Knows files; refuses to know what the bytes are. A block written into space that its file already has costs a fifth of
a block written into a file of its own, and a job has thousands of blocks. A pack is a row of records: a head (mark,
SHA-256, length), then the bytes.

Nothing is flushed: a job's blocks can be computed again, and ``get`` hashes what it reads, so a blob that a power cut
lost or tore is simply absent. After a crash the heads tell what is there. A pack is deleted with its last blob.
"""

from __future__ import annotations

import hashlib
import os
import struct
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tallystick.errors import StoreError

PACK_BYTES: Final = 1 << 28
"""A pack that has grown to this takes no more blobs."""
ROOM_BYTES: Final = 1 << 25
"""Space is asked of the file system in steps of this."""

_HEAD: Final = struct.Struct(">4s32sQ")
_KEPT: Final = b"blob"
_GONE: Final = b"gone"


@dataclass(slots=True)
class _Pack:
    """One open file: where the next record goes, how far space is there, how many of its blobs are wanted."""

    path: Path
    file: int
    end: int = 0
    room: int = 0
    kept: int = 0


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
        self._packs: list[_Pack] = []
        self._open: _Pack | None = None
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
        try:
            with self._lock:
                if digest in self._places:
                    return
                place = self._reserve(digest, len(data))
            self._fill(digest, place, data)
        except OSError as error:
            raise StoreError(f"a blob of {len(data)} bytes could not be written: {error.strerror}") from error

    def _fill(self, digest: bytes, place: _Place, data: bytes) -> None:
        """Write the bytes behind their head; the space is given up when that fails."""
        whole = False
        try:
            _write(place.pack.file, data, place.offset + _HEAD.size)
            whole = True
        finally:
            with self._lock:
                # Another thread may have brought the same bytes meanwhile; the first stay.
                if not whole or self._places.setdefault(digest, place) is not place:
                    self._drop(place)

    def get(self, digest: bytes) -> bytes | None:
        """Return bytes whose SHA-256 was checked again, or None when they are absent or damaged."""
        with self._lock:
            place = self._places.get(digest)
            if place is None:
                return None
            data = os.pread(place.pack.file, place.length, place.offset + _HEAD.size)
        if hashlib.sha256(data).digest() == digest:
            return data
        self.delete(digest)
        return None

    def has(self, digest: bytes) -> bool:
        """Tell whether bytes are kept, without reading them."""
        return digest in self._places

    def delete(self, digest: bytes) -> None:
        """Forget bytes; absent ones are no error."""
        with self._lock:
            place = self._places.pop(digest, None)
            if place is not None:
                self._drop(place)

    def close(self) -> None:
        """Give back space that no blob took, and close the files."""
        with self._lock:
            self._places.clear()
            for pack in self._packs:
                if pack.room > pack.end:
                    os.ftruncate(pack.file, pack.end)
                os.close(pack.file)
            self._packs.clear()
            self._open = None

    def _reserve(self, digest: bytes, length: int) -> _Place:
        """Take the place of the next record and write its head, so that heads never come after what follows them."""
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
