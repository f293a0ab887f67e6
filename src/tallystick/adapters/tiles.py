"""The log's tiles as files, laid out as C2SP tlog-tiles wants them: any static web server can serve the folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from tallystick.errors import StoreError
from tallystick.node.ports import Store
from tallystick.receipts.log import TILE_WIDTH, TileName

CHECKPOINT: Final = "checkpoint"


class FolderTiles:
    """Tiles under a folder. Writes are atomic by rename; the store, not this folder, is what survives a power cut."""

    def __init__(self, folder: Path) -> None:
        """Use a folder, made when it is not there."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._made: set[str] = set()

    def published(self) -> str | None:
        """Return the checkpoint that readers see, None when there is none or it is no text."""
        path = self._folder / CHECKPOINT
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else None

    def publish(self, files: Iterable[tuple[TileName, bytes]], checkpoint: str) -> None:
        """Write tiles, the checkpoint last; partial tiles go once their full tile stands."""
        for name, data in files:
            path = f"{self._folder}/{name.path}"
            folder = path.rpartition("/")[0]
            if folder not in self._made:
                Path(folder).mkdir(parents=True, exist_ok=True)
                self._made.add(folder)
            _write(path, data)
            if name.width == TILE_WIDTH:
                shutil.rmtree(f"{path}.p", ignore_errors=True)
                self._made.discard(f"{path}.p")
        _write(f"{self._folder}/{CHECKPOINT}", checkpoint.encode())


def _write(path: str, data: bytes) -> None:
    """Write a file so that it is whole or absent; every block of the ledger waits for this, hence no Path."""
    temporary = f"{path}.tmp"
    with open(temporary, "wb", buffering=0) as file:  # noqa: PTH123
        file.write(data)
    os.rename(temporary, path)  # noqa: PTH104


class NoTiles:
    """The public face of a log that is only read: it counts as published, so nothing is repaired or written."""

    def __init__(self, store: Store) -> None:
        """Answer with the store's own checkpoint."""
        self._store = store

    def published(self) -> str | None:
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
