"""The log's tiles as files, laid out as C2SP tlog-tiles wants them: any static web server can serve the folder."""

from __future__ import annotations

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

    def published(self) -> str | None:
        """Return the checkpoint that readers see, None when there is none or it is no text."""
        path = self._folder / CHECKPOINT
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else None

    def publish(self, files: Iterable[tuple[TileName, bytes]], checkpoint: str) -> None:
        """Write tiles, the checkpoint last; partial tiles go once their full tile stands."""
        for name, data in files:
            path = self._folder / name.path
            self._write(path, data)
            if name.width == TILE_WIDTH:
                shutil.rmtree(path.with_name(f"{path.name}.p"), ignore_errors=True)
        self._write(self._folder / CHECKPOINT, checkpoint.encode())

    def _write(self, path: Path, data: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{path.name}.tmp")
        temporary.write_bytes(data)
        temporary.replace(path)


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
