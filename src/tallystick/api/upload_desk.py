"""Uploads on disk: begun, gone on from where they stand, complete once their bytes have the promised digest.

What stands survives a kill: the length of the file is the offset. A complete upload is flushed and was read back.
Knows files below one folder; refuses to know HTTP.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from tallystick.api.disk import check_disk
from tallystick.api.settings import Bounds
from tallystick.errors import (
    AbsentError,
    CommitmentError,
    ConflictError,
    LimitError,
    MalformedError,
    StoreError,
    TooLargeError,
)
from tallystick.node.room import is_stranger
from tallystick.primitives.canonical import Count, DigestHex, decode, encode

READ_BYTES: Final = 1 << 20
ID_BYTES: Final = 16


class Upload(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was promised: whose it is, how many bytes, with which SHA-256, until when; ``complete`` once it holds."""

    upload_id: str
    account: str
    length: Count
    sha256: DigestHex
    expires: Count
    complete: bool = False


@dataclass(slots=True)
class UploadDesk:
    """The uploads of one node. Calls wait for the disk: make them in a thread, one at a time for one upload."""

    folder: Path
    bounds: Bounds
    _uploads: dict[str, Upload] = field(default_factory=dict)
    _promising: threading.Lock = field(default_factory=threading.Lock)

    def open(self, now: int) -> None:
        """Read what an earlier process left; what has expired or was never begun properly is removed."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for path in sorted(self.folder.iterdir()):
            if path.suffix == ".json":
                try:
                    upload = decode(path.read_bytes(), Upload, what="kept upload")
                    self._uploads[upload.upload_id] = upload
                except MalformedError:
                    path.unlink()
        known = {f"{upload_id}{suffix}" for upload_id in self._uploads for suffix in (".json", ".part")}
        for path in self.folder.iterdir():
            if path.name not in known:
                path.unlink()
        self.sweep(now)

    def sweep(self, now: int) -> None:
        """Remove what has expired."""
        for upload in list(self._uploads.values()):
            if upload.expires <= now:
                self._remove(upload)

    def begin(self, account: str, length: int, sha256: str, now: int, entropy: bytes) -> Upload:
        """Promise room for an upload.

        Raises:
            TooLargeError: it is larger than one may be.
            LimitError: the account has too many, or too much, on this node, or the disk is nearly full.
        """
        self.sweep(now)
        if length > self.bounds.upload_bytes:
            raise TooLargeError("upload", f"{length} bytes, at most {self.bounds.upload_bytes}")
        with self._promising:
            return self._promise(Upload(entropy[:ID_BYTES].hex(), account, length, sha256, now + self.bounds.upload_ms))

    def _promise(self, upload: Upload) -> Upload:
        held = [each for each in list(self._uploads.values()) if each.account == upload.account]
        if len(held) >= self.bounds.uploads_per_account:
            raise LimitError(f"{len(held)} uploads of this account are here: DELETE one, or wait until one expires")
        if sum(each.length for each in held) + upload.length > self.bounds.account_bytes:
            raise LimitError(f"an account's uploads take at most {self.bounds.account_bytes} bytes together")
        if is_stranger(upload.account) and self._promised_to_strangers() + upload.length > self.bounds.strangers_bytes:
            raise LimitError("uploads of callers without a token take all the room that they have: try again later")
        with _guarded():
            check_disk(self.folder, self._outstanding() + upload.length, self.bounds.disk_reserve_bytes)
            self._part(upload).touch(mode=0o600)
            self._keep(upload)
        return upload

    def _promised_to_strangers(self) -> int:
        return sum(each.length for each in list(self._uploads.values()) if is_stranger(each.account))

    def _outstanding(self) -> int:
        """Return how many bytes were promised and are not written yet."""
        left = 0
        for each in list(self._uploads.values()):
            with suppress(AbsentError):  # it was given up meanwhile
                left += 0 if each.complete else each.length - self.offset(each)
        return left

    def get(self, upload_id: str, now: int) -> Upload:
        """Return an upload.

        Raises:
            AbsentError: there is none, or it has expired.
        """
        upload = self._uploads.get(upload_id)
        if upload is None or upload.expires <= now:
            raise AbsentError("there is no such upload: it may have expired")
        return upload

    def find(self, account: str, sha256: str, now: int) -> Upload | None:
        """Return an account's complete upload of these bytes, None when there is none."""
        held = (each for each in list(self._uploads.values()) if (each.account, each.sha256) == (account, sha256))
        return next((each for each in held if each.complete and each.expires > now), None)

    def offset(self, upload: Upload) -> int:
        """Return how many bytes stand."""
        with _guarded():
            return self._part(upload).stat().st_size

    def write(self, upload: Upload, offset: int, data: bytes) -> int:
        """Append bytes at an offset and return the new one.

        Raises:
            ConflictError: other bytes stand there; it names the right offset.
            TooLargeError: these are more bytes than were promised.
            StoreError: the disk refuses them.
        """
        stands = self.offset(upload)
        if offset != stands:
            raise ConflictError(f"the upload stands at {stands}, not at {offset}: go on from there", offset=stands)
        if offset + len(data) > upload.length:
            raise TooLargeError("upload", f"{upload.length} bytes were promised")
        with _guarded(), self._part(upload).open("ab") as handle:
            handle.write(data)
        return offset + len(data)

    def cut(self, upload: Upload, offset: int) -> None:
        """Forget what stands behind an offset."""
        with _guarded():
            os.truncate(self._part(upload), offset)

    def finish(self, upload: Upload) -> Upload:
        """Flush an upload whose bytes are all here, read it back, and keep it as complete.

        Raises:
            CommitmentError: the bytes are not the promised ones; the upload is gone.
        """
        with _guarded():
            found = self._flushed_digest(upload)
            if found != upload.sha256:
                self._remove(upload)
                raise CommitmentError("SHA-256 of the upload", expected=upload.sha256, actual=found)
            done = msgspec.structs.replace(upload, complete=True)
            self._keep(done)
        return done

    def read(self, upload: Upload) -> bytes:
        """Return the bytes of a complete upload.

        Raises:
            AbsentError: somebody gave it up meanwhile.
        """
        with _guarded():
            return self._part(upload).read_bytes()

    def remove(self, upload: Upload) -> None:
        """Forget an upload."""
        with _guarded():
            self._remove(upload)

    @property
    def unfinished(self) -> int:
        """How many are not complete."""
        return sum(not each.complete for each in list(self._uploads.values()))

    def _flushed_digest(self, upload: Upload) -> str:
        digest = hashlib.sha256()
        with self._part(upload).open("rb") as handle:
            os.fsync(handle.fileno())
            while data := handle.read(READ_BYTES):
                digest.update(data)
        return digest.hexdigest()

    def _part(self, upload: Upload) -> Path:
        return self.folder / f"{upload.upload_id}.part"

    def _keep(self, upload: Upload) -> None:
        """Write what is known of an upload: whole, durable, and only then believed."""
        place, beside = self.folder / f"{upload.upload_id}.json", self.folder / f"{upload.upload_id}.tmp"
        with beside.open("wb") as handle:
            handle.write(encode(upload))
            handle.flush()
            os.fsync(handle.fileno())
        beside.replace(place)
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        self._uploads[upload.upload_id] = upload

    def _remove(self, upload: Upload) -> None:
        self._uploads.pop(upload.upload_id, None)
        (self.folder / f"{upload.upload_id}.json").unlink(missing_ok=True)
        self._part(upload).unlink(missing_ok=True)


class _guarded:  # noqa: N801 - it reads as a statement
    """Turns what a disk says into our error."""

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        """Raise StoreError in place of OSError, AbsentError where somebody gave the upload up meanwhile."""
        if isinstance(error, FileNotFoundError):
            raise AbsentError("there is no such upload any more: it was given up") from error
        if isinstance(error, OSError):
            raise StoreError(f"the disk refused an upload: {error.strerror}") from error


def pieces(path: Path, start: int, stop: int, size: int = READ_BYTES) -> Iterator[bytes]:
    """Yield a file's bytes from ``start`` to before ``stop``.

    Raises:
        StoreError: the file is shorter, or cannot be read.
    """
    with _guarded(), path.open("rb") as handle:
        handle.seek(start)
        while start < stop:
            data = handle.read(min(size, stop - start))
            if not data:
                raise StoreError("a file is shorter than it was")
            start += len(data)
            yield data
