"""Content-addressed bytes in a folder: ``ab/cdef…`` by SHA-256.

Writes are atomic by rename and not flushed one by one: a job's blocks can be computed again, and ``get`` hashes what it
reads, so a blob that a power cut lost or tore is simply absent.
"""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path


class FolderBlobs:
    """A folder of blobs; several threads may use it at once."""

    def __init__(self, folder: Path) -> None:
        """Use a folder, made with mode 0700 when it is not there."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder

    def put(self, digest: bytes, data: bytes) -> None:
        """Keep bytes under their SHA-256, which the caller computed."""
        path = self._path(digest)
        if path.exists() and path.stat().st_size == len(data):
            return
        path.parent.mkdir(exist_ok=True)
        temporary = path.with_name(f"{path.name}.{threading.get_ident()}.tmp")
        with temporary.open("wb", buffering=0) as handle:
            handle.write(data)
        temporary.replace(path)

    def get(self, digest: bytes) -> bytes | None:
        """Return bytes whose SHA-256 was checked again, or None when they are absent or damaged."""
        try:
            data = self._path(digest).read_bytes()
        except FileNotFoundError:
            return None
        return data if hashlib.sha256(data).digest() == digest else None

    def has(self, digest: bytes) -> bool:
        """Tell whether bytes are kept, without reading them."""
        return self._path(digest).exists()

    def delete(self, digest: bytes) -> None:
        """Forget bytes; absent ones are no error."""
        self._path(digest).unlink(missing_ok=True)

    def prune(self) -> None:
        """Remove what an interrupted write left behind."""
        for path in self._folder.glob("*/*.tmp"):
            path.unlink(missing_ok=True)

    def _path(self, digest: bytes) -> Path:
        name = digest.hex()
        return self._folder / name[:2] / name[2:]
