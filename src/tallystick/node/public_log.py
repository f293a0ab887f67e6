"""The log as the world reads it: checkpoint, tiles, entries by digest, proofs. Always against what is durable.

Knows the newest checkpoint and everything below it, so a reader finds whatever that checkpoint calls for, also between
two publications of the tiles' folder. Refuses to know who asks and how.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Final, Protocol

from tallystick.node.ports import Engine
from tallystick.primitives import canonical
from tallystick.primitives.cids import parse_raw_cid
from tallystick.primitives.digests import sha256
from tallystick.receipts.log import TILE_HEIGHT, TILE_WIDTH, TileName, encode_bundle
from tallystick.receipts.tlog_proof import TlogProof, prove

StoredTile = Callable[[TileName], bytes | None]
"""Reads a published tile, None for one that is not there."""


_TX_HASH: Final = re.compile(r"0x[0-9a-f]{64}")


def digest_of(name: str) -> bytes:
    """Return the SHA-256 that an entry's NID or txHash spells. Raises ``MalformedError`` for another text."""
    return bytes.fromhex(name[2:]) if _TX_HASH.fullmatch(name) else parse_raw_cid(name)


class LogSource(Protocol):
    """What routes ask of a log; every method may be called by any thread."""

    def genesis(self) -> bytes:
        """Return the ledger's first page in canonical JSON."""
        ...

    def checkpoint(self) -> str | None:
        """Return the newest durable checkpoint, None for an empty log."""
        ...

    def entry(self, index: int) -> bytes:
        """Return a durable entry; the caller knows that it is there."""
        ...

    def index_of(self, digest: bytes) -> int | None:
        """Return where the entry with this SHA-256 stands, None when there is none."""
        ...

    def prove(self, index: int) -> TlogProof:
        """Return the proof of a durable entry against the newest checkpoint, with the entry as its extra data."""
        ...

    def consistency(self, first: int, second: int) -> tuple[bytes, ...] | None:
        """Return the proof that the log only grew from one size to another, None where it never did."""
        ...

    def root(self, size: int) -> bytes:
        """Return the root over the first so many entries."""
        ...

    def tile(self, name: TileName) -> bytes | None:
        """Return a tile or bundle of any size the log ever had, None for one beyond its end."""
        ...


class EngineLog:
    """The log of an engine; ``lock`` guards the reads of its tree and index."""

    def __init__(self, engine: Engine, lock: AbstractContextManager[Any], stored: StoredTile) -> None:
        """Read bundles from ``stored`` where they are, and everything else from the engine."""
        self._engine, self._lock, self._stored = engine, lock, stored
        self._genesis = canonical.encode(engine.genesis)

    def genesis(self) -> bytes:
        """Return the ledger's first page in canonical JSON."""
        return self._genesis

    def checkpoint(self) -> str | None:
        """Return the newest durable checkpoint, None for an empty log."""
        with self._lock:
            return self._engine.checkpoint() if self._engine.tree.size else None

    def entry(self, index: int) -> bytes:
        """Return a durable entry."""
        with self._lock:
            return self._engine.entry(index)

    def index_of(self, digest: bytes) -> int | None:
        """Return where the entry with this SHA-256 stands; the index names candidates, their bytes decide."""
        with self._lock:
            found = self._engine.index.find(digest)
            return next((index for index in found if sha256(self._engine.entry(index)) == digest), None)

    def prove(self, index: int) -> TlogProof:
        """Return the proof of a durable entry against the newest checkpoint, with the entry as its extra data."""
        with self._lock:
            return prove(self._engine.tree, index, self._engine.checkpoint(), self._engine.entry(index))

    def consistency(self, first: int, second: int) -> tuple[bytes, ...] | None:
        """Return the proof that the log only grew between two sizes."""
        with self._lock:
            if not 0 <= first <= second <= self._engine.tree.size:
                return None
            return self._engine.tree.consistency(first, second)

    def root(self, size: int) -> bytes:
        """Return the root over the first so many entries. Raises ``ValueError`` beyond the end."""
        with self._lock:
            return self._engine.tree.root(size)

    def tile(self, name: TileName) -> bytes | None:
        """Return a tile from the tree, or a bundle from the folder, or cut anew from the entries."""
        with self._lock:
            start, end = name.index * TILE_WIDTH, name.index * TILE_WIDTH + name.width
            height = TILE_HEIGHT * (name.level or 0)
            if end > self._engine.tree.size >> height:
                return None
            if name.level is not None:
                return self._engine.tree.subtree_roots(height, start, end)
        stored = self._stored(name)
        return stored if stored is not None else encode_bundle([self.entry(index) for index in range(start, end)])
