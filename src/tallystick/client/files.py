"""Files on their way: what is uploaded, read from any offset; what is downloaded, part by part until it is whole.

A download lies beside its place under the name of what it shall become, so that another try, or another process, goes
on with it; it moves into place only when its digest is right. Knows the disk; refuses to know the network.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Final

from tallystick.client.steps import Answer, content_range
from tallystick.errors import CommitmentError, NodeError, UsageError

READ_BYTES: Final = 1 << 20


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(f"{path} cannot be used: {error.strerror or error}") from error


@dataclass(frozen=True, slots=True)
class Source:
    """Bytes to be uploaded, from a file or from memory."""

    length: int
    sha256: str
    name: str
    _data: bytes | None = field(default=None, repr=False)
    _path: Path | None = None

    @classmethod
    def of(cls, what: Path | str | bytes) -> Source:
        """Look at a file, or at bytes.

        Raises:
            UsageError: the file cannot be read.
        """
        if isinstance(what, bytes):
            return cls(len(what), hashlib.sha256(what).hexdigest(), "", what)
        path = Path(what)
        with _reading(path):
            digest = hashlib.sha256()
            with path.open("rb") as handle:
                length = 0
                while data := handle.read(READ_BYTES):
                    digest.update(data)
                    length += len(data)
        return cls(length, digest.hexdigest(), path.name, None, path)

    @classmethod
    def plain(cls, data: bytes) -> Source:
        """Take bytes that somebody else hashed already."""
        return cls(len(data), "", "", data)

    def read(self, offset: int, size: int) -> bytes:
        """Return at most so many bytes from an offset.

        Raises:
            UsageError: the file is gone or changed.
        """
        if self._path is None:
            return (self._data or b"")[offset : offset + size]
        with _reading(self._path), self._path.open("rb") as handle:
            handle.seek(offset)
            data = handle.read(size)
        if len(data) != min(size, self.length - offset):
            raise UsageError(f"{self._path} changed while it was uploaded: nothing was ordered")
        return data


def _check_place(answer: Answer, size: int, length: int) -> bool:
    """Look where the bytes of an answer belong; tell whether they begin anew.

    Raises:
        NodeError: they belong nowhere.
    """
    if answer.status == HTTPStatus.OK:
        return True
    found = content_range(answer)
    if answer.status != HTTPStatus.PARTIAL_CONTENT or found != (size, length):
        raise NodeError(f"the node was asked for bytes {size} to {length} and gives {found}")
    return False


@dataclass(slots=True)
class Held:
    """A download that stays in memory."""

    length: int
    data: bytearray = field(default_factory=bytearray, repr=False)

    @property
    def size(self) -> int:
        """How many bytes are here."""
        return len(self.data)

    @property
    def is_whole(self) -> bool:
        """Whether all bytes are here."""
        return self.size == self.length

    def begin(self, answer: Answer) -> None:
        """Look where the bytes that come now belong.

        Raises:
            NodeError: they belong nowhere.
        """
        if _check_place(answer, self.size, self.length):
            self.data.clear()

    def write(self, data: bytes) -> None:
        """Append bytes.

        Raises:
            NodeError: they are more than there are.
        """
        if self.size + len(data) > self.length:
            raise NodeError(f"the node gives more than the {self.length} bytes that it promised")
        self.data += data


@dataclass(slots=True)
class Part:
    """A download: so many bytes that shall have this SHA-256; ``size`` of them are here."""

    target: Path
    length: int
    sha256: str
    size: int = 0

    def __post_init__(self) -> None:
        """Take up what an earlier try left."""
        with _reading(self.path):
            self.size = self.path.stat().st_size if self.path.exists() else 0
            if self.size > self.length:
                self.path.unlink()
                self.size = 0

    @property
    def path(self) -> Path:
        """Where it lies until it is whole."""
        return self.target.with_name(f".{self.target.name[:100]}.{self.sha256[:16]}.part")

    @property
    def is_whole(self) -> bool:
        """Whether all bytes are here."""
        return self.size == self.length

    def begin(self, answer: Answer) -> None:
        """Look where the bytes that come now belong.

        Raises:
            NodeError: they belong nowhere.
        """
        if _check_place(answer, self.size, self.length):
            with _reading(self.path):
                self.path.write_bytes(b"")
            self.size = 0

    def write(self, data: bytes) -> None:
        """Append bytes.

        Raises:
            NodeError: they are more than the file has.
        """
        if self.size + len(data) > self.length:
            raise NodeError(f"the node gives more than the {self.length} bytes that it promised")
        with _reading(self.path), self.path.open("ab") as handle:
            handle.write(data)
        self.size += len(data)

    def finish(self) -> Path:
        """Check what came, make it durable and move it into place.

        Raises:
            CommitmentError: these are other bytes than promised; they are gone.
        """
        with _reading(self.target):
            digest = hashlib.sha256()
            with self.path.open("rb+") as handle:
                while data := handle.read(READ_BYTES):
                    digest.update(data)
                os.fsync(handle.fileno())
            if digest.hexdigest() != self.sha256:
                self.path.unlink()
                what = f"SHA-256 of the download for {self.target.name}"
                raise CommitmentError(what, expected=self.sha256, actual=digest.hexdigest())
            self.path.replace(self.target)
            folder = os.open(self.target.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        return self.target
