"""The log's tiles as files, laid out as C2SP tlog-tiles wants them: any static web server can serve the folder.

Files are whole or absent by rename, and flushed in heaps, not one by one: a flush for every tile of every publication
would cost more than the ledger's own. What a power cut may have torn is what came after the last heap; the mark
``.durable`` is the checkpoint up to which everything is flushed, so a start checks and mends the rest.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from tallystick.errors import StoreError
from tallystick.node.ports import Store
from tallystick.primitives.merkle import HASH_SIZE
from tallystick.receipts.log import TileName, encode_bundle, parse_bundle

CHECKPOINT: Final = "checkpoint"
MARK: Final = ".durable"
HEAP_FILES: Final = 64
"""So many full tiles and bundles are flushed together: 8,192 entries' worth."""
CHECKED_FILES: Final = 8
"""So many that a start had to check are flushed at once: the next start need not check them again."""


class FolderTiles:
    """Tiles under a folder. The store, not this folder, is what survives a power cut; this is made from it again."""

    def __init__(self, folder: Path) -> None:
        """Use a folder, made when it is not there."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._made: set[str] = set()
        self._full: set[str] = set()
        self._partial: set[str] = set()

    def published(self) -> str | None:
        """Return the checkpoint that readers see, None when there is none or it is no text."""
        return self._text(CHECKPOINT)

    def durable(self) -> str | None:
        """Return the checkpoint up to which every file was flushed, None when none ever was."""
        return self._text(MARK)

    def read(self, name: TileName) -> bytes | None:
        """Return a tile or bundle as it lies in the folder, None when it does not."""
        try:
            return (self._folder / name.path).read_bytes()
        except FileNotFoundError:
            return None

    def publish(self, files: Iterable[tuple[TileName, bytes]], checkpoint: str) -> None:
        """Write tiles, the checkpoint last; partial tiles go once their full tile stands."""
        for name, data in files:
            self._put(name, data)
        self._close(checkpoint)

    def repair(self, files: Iterable[tuple[TileName, bytes]], checkpoint: str) -> None:
        """Write the files of the right edge whose bytes differ, narrower ones beside them included, then go on."""
        for name, data in files:
            if name.partial:
                self._mend_narrower(name, data)
            self._put(name, data, always=False)
        self._close(checkpoint, CHECKED_FILES)

    def _text(self, name: str) -> str | None:
        path = self._folder / name
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else None

    def _put(self, name: TileName, data: bytes, *, always: bool = True) -> None:
        path = f"{self._folder}/{name.path}"
        folder = path.rpartition("/")[0]
        if folder not in self._made:
            Path(folder).mkdir(parents=True, exist_ok=True)
            self._made.add(folder)
        if always or self.read(name) != data:
            _write(path, data)
        if name.partial:
            self._partial.add(path)
            return
        self._full.add(path)
        shutil.rmtree(f"{path}.p", ignore_errors=True)
        self._made.discard(f"{path}.p")
        self._partial = {each for each in self._partial if not each.startswith(f"{path}.p/")}

    def _mend_narrower(self, name: TileName, data: bytes) -> None:
        """Hold the partial tiles of earlier sizes, which readers of those sizes may ask for, against the newest."""
        folder = (self._folder / name.path).parent
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if path.name.isdecimal() and 0 < int(path.name) < name.width:
                narrower = TileName(name.level, name.index, int(path.name))
                self._put(narrower, _first(name, data, narrower.width), always=False)
            elif path.name != str(name.width):
                path.unlink()

    def _close(self, checkpoint: str, heap: int = HEAP_FILES) -> None:
        """Let readers see the new size, and flush the heap when it is large enough."""
        _write(f"{self._folder}/{CHECKPOINT}", checkpoint.encode())
        if len(self._full) >= heap:
            self._flush_heap()
            _write(f"{self._folder}/{MARK}", checkpoint.encode(), flush=True)
            _flush(str(self._folder))

    def _flush_heap(self) -> None:
        files = self._full | self._partial
        folders = {str(parent) for path in files for parent in Path(path).relative_to(self._folder).parents}
        for path in files:
            _flush(path)
        for folder in folders:
            _flush(f"{self._folder}/{folder}")
        self._full.clear()
        self._partial.clear()


def _first(name: TileName, data: bytes, width: int) -> bytes:
    """The first so many hashes or entries of a tile or bundle."""
    if name.level is None:
        return encode_bundle(parse_bundle(data, name.width)[:width])
    return data[: width * HASH_SIZE]


def _write(path: str, data: bytes, *, flush: bool = False) -> None:
    """Write a file so that it is whole or absent; every block of the ledger waits for this, hence no Path."""
    temporary = f"{path}.tmp"
    with open(temporary, "wb", buffering=0) as file:  # noqa: PTH123
        file.write(data)
        if flush:
            os.fsync(file.fileno())
    os.rename(temporary, path)  # noqa: PTH104


def _flush(path: str) -> None:
    """Make a file, or the names in a folder, survive a power cut."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


class NoTiles:
    """The public face of a log that is only read: it counts as published, so nothing is repaired or written."""

    def __init__(self, store: Store) -> None:
        """Answer with the store's own checkpoint."""
        self._store = store

    def published(self) -> str | None:
        """Return the newest durable checkpoint."""
        return self._store.checkpoint()

    def durable(self) -> str | None:
        """Return the newest durable checkpoint."""
        return self._store.checkpoint()

    def publish(self, files: Iterable[tuple[TileName, bytes]], checkpoint: str) -> None:
        """Refuse: whoever reads writes nothing.

        Raises:
            StoreError: always.
        """
        raise StoreError(
            f"a log opened for reading cannot publish {checkpoint.splitlines()[0]} and {len(list(files))} tiles"
        )

    def repair(self, files: Iterable[tuple[TileName, bytes]], checkpoint: str) -> None:
        """Refuse likewise."""
        self.publish(files, checkpoint)
