"""The buyer's files: inputs read, deliveries written so that they are whole or absent."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from pathlib import Path


def flush(path: str) -> None:
    """Make a file's bytes survive a power cut."""
    with Path(path).open("rb") as handle:
        os.fsync(handle.fileno())


class FolderDesk:
    """The buyer's files."""

    def read(self, path: str) -> bytes:
        """Return a file's bytes."""
        return Path(path).read_bytes()

    def write(self, path: str, data: bytes) -> None:
        """Replace a file atomically and durably."""
        target = Path(path)
        temporary = target.with_name(f".{target.name}.tmp")
        try:
            with temporary.open("wb") as handle:
                handle.write(data)
                handle.flush()
                os.fsync(handle.fileno())
            self.replace(str(temporary), path)
        except OSError:
            temporary.unlink(missing_ok=True)  # a full disk must not stay full of halves
            raise

    def digest(self, path: str) -> bytes:
        """Return a file's SHA-256, read in pieces."""
        with Path(path).open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").digest()

    def replace(self, source: str, target: str) -> None:
        """Move a finished file into place, durably: file and folder are flushed, also across file systems."""
        flush(source)
        try:
            Path(source).replace(target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            beside = str(Path(target).with_name(f".{Path(target).name}.tmp"))
            shutil.copyfile(source, beside)
            flush(beside)
            Path(beside).replace(target)
            Path(source).unlink()
        folder = os.open(Path(target).parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def remove(self, path: str) -> None:
        """Delete a file if it is there."""
        Path(path).unlink(missing_ok=True)

    def name(self, path: str) -> str:
        """Return a path's last part."""
        return Path(path).name
