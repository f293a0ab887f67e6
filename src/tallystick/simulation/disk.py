"""A simulated disk: the store, blobs, tiles and files of one home in memory, with power cuts at any chosen moment.

Every change is one numbered act. A fault strikes before an act or right after it; nothing written after a power cut
happens, and what was never flushed may be gone when the disk comes back.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from tallystick.errors import StoreError
from tallystick.node.ports import Batch
from tallystick.primitives.digests import sha256
from tallystick.receipts.log import TileName


class PowerCut(BaseException):
    """The machine lost power. No code of the node may catch this and go on."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Strikes at the ``number``-th act (from 0) whose name begins with ``kind``, before it or right after it."""

    number: int
    kind: str = ""
    after: bool = False
    error: type[BaseException] = PowerCut


@dataclass(slots=True)
class Disk:
    """All that survives of one home."""

    entries: list[bytes] = field(default_factory=list)
    meta: dict[str, bytes] = field(default_factory=dict)
    private: dict[str, bytes] = field(default_factory=dict)
    snapshot: list[tuple[int, bytes]] = field(default_factory=list)
    blobs: dict[bytes, bytes] = field(default_factory=dict)
    unflushed_blobs: set[bytes] = field(default_factory=set)
    files: dict[str, bytes] = field(default_factory=dict)
    unflushed: set[str] = field(default_factory=set)
    tiles: dict[str, bytes] = field(default_factory=dict)
    acts: list[str] = field(default_factory=list)
    fault: Fault | None = None
    dead: bool = False

    def act(self, name: str, change: Callable[[], object]) -> None:
        """Change the disk, unless the fault strikes first.

        Raises:
            PowerCut: the power is off, or goes off now; or the fault's own error.
        """
        if self.dead:
            raise PowerCut
        fault = self.fault
        strikes = fault is not None and name.startswith(fault.kind) and self._count(fault.kind) == fault.number
        self.acts.append(name)
        if fault is not None and strikes and not fault.after:
            self._strike(fault)
        change()
        if fault is not None and strikes:
            self._strike(fault)

    def _count(self, kind: str) -> int:
        return sum(name.startswith(kind) for name in self.acts)

    def _strike(self, fault: Fault) -> None:
        self.fault, self.dead = None, fault.error is PowerCut
        raise fault.error(f"simulated fault at act {len(self.acts) - 1}, {self.acts[-1]}")

    def restart(self, rng: random.Random) -> None:
        """Switch the power on again: some blobs are lost or torn, and so are files that were never flushed."""
        self.dead, self.fault = False, None
        for digest in [each for each in self.blobs if each in self.unflushed_blobs]:
            match rng.randrange(4):
                case 0:
                    del self.blobs[digest]
                case 1:
                    self.blobs[digest] = self.blobs[digest][: rng.randrange(len(self.blobs[digest]) + 1)]
        for path in sorted(self.unflushed & self.files.keys()):
            if rng.randrange(2):
                del self.files[path]
        self.unflushed.clear()
        self.unflushed_blobs.clear()


@dataclass(frozen=True, slots=True)
class SimulatedStore:
    """The Store port over a simulated disk."""

    disk: Disk

    def genesis(self) -> bytes | None:
        """Return the genesis document."""
        return self.disk.meta.get("genesis")

    def create(self, genesis: bytes) -> None:
        """Make the genesis durable."""
        self.disk.act("create", lambda: self.disk.meta.update(genesis=genesis))

    def append(self, batch: Batch) -> None:
        """Make a batch durable, all of it or nothing."""
        if batch.first != len(self.disk.entries):
            raise StoreError(f"the log holds {len(self.disk.entries)} entries, the batch begins at {batch.first}")

        def change() -> None:
            self.disk.entries += batch.entries
            self.disk.meta["checkpoint"] = batch.checkpoint.encode()
            self.disk.private.update(batch.private)

        self.disk.act("append", change)

    def size(self) -> int:
        """Return how many entries are durable."""
        return len(self.disk.entries)

    def entries(self, start: int, stop: int) -> Iterator[bytes]:
        """Yield durable entries in order."""
        if stop > len(self.disk.entries):
            raise StoreError(f"the log lacks entries between {start} and {stop}")
        yield from self.disk.entries[start:stop]

    def checkpoint(self) -> str | None:
        """Return the newest durable checkpoint."""
        held = self.disk.meta.get("checkpoint")
        return None if held is None else held.decode()

    def snapshot(self) -> Iterator[bytes]:
        """Yield the pieces of the snapshot, in order."""
        return (data for _, data in self.disk.snapshot)

    def save_snapshot(self, first: int, size: int, data: bytes) -> None:
        """Make a piece durable; it replaces whatever goes beyond ``first``."""

        def change() -> None:
            self.disk.snapshot = [*(piece for piece in self.disk.snapshot if piece[0] <= first), (size, data)]

        self.disk.act("snapshot", change)

    def private(self, key: str) -> bytes | None:
        """Return a private value."""
        return self.disk.private.get(key)

    def private_keys(self, prefix: str) -> tuple[str, ...]:
        """Return the keys of private values under a prefix, sorted."""
        return tuple(sorted(key for key in self.disk.private if key.startswith(prefix)))

    def put_private(self, values: Sequence[tuple[str, bytes | None]]) -> None:
        """Make private values durable, None deletes."""

        def change() -> None:
            for key, value in values:
                if value is None:
                    self.disk.private.pop(key, None)
                else:
                    self.disk.private[key] = value

        self.disk.act("private", change)


@dataclass(frozen=True, slots=True)
class SimulatedBlobs:
    """The Blobs port over a simulated disk; what was put since the last flush may not survive."""

    disk: Disk

    def put(self, digest: bytes, data: bytes) -> None:
        """Keep bytes under their SHA-256."""

        def change() -> None:
            self.disk.blobs[digest] = data
            self.disk.unflushed_blobs.add(digest)

        self.disk.act("blob.put", change)

    def get(self, digest: bytes) -> bytes | None:
        """Return bytes whose SHA-256 was checked again, or None."""
        data = self.disk.blobs.get(digest)
        return data if data is not None and sha256(data) == digest else None

    def has(self, digest: bytes) -> bool:
        """Tell whether bytes are kept, without reading them."""
        return digest in self.disk.blobs

    def flush(self) -> None:
        """Let everything that was put survive a power cut."""
        if self.disk.unflushed_blobs:
            self.disk.act("blob.flush", self.disk.unflushed_blobs.clear)

    def digests(self) -> frozenset[bytes]:
        """Return the SHA-256 of everything that is kept."""
        return frozenset(self.disk.blobs)

    def delete(self, digest: bytes) -> None:
        """Forget bytes."""
        self.disk.act("blob.delete", lambda: self.disk.blobs.pop(digest, None))


@dataclass(frozen=True, slots=True)
class SimulatedTiles:
    """The Tiles port over a simulated disk."""

    disk: Disk

    def published(self) -> str | None:
        """Return the checkpoint that readers see."""
        held = self.disk.tiles.get("checkpoint")
        return None if held is None else held.decode()

    def publish(self, files: Iterable[tuple[TileName, bytes]], checkpoint: str) -> None:
        """Write tiles, the checkpoint last."""
        for name, data in files:
            self.disk.act("tile", partial(self.disk.tiles.update, {name.path: data}))
        self.disk.act("tile.checkpoint", lambda: self.disk.tiles.update(checkpoint=checkpoint.encode()))

    def durable(self) -> str | None:
        """Return the checkpoint that readers see: what was written here stays."""
        return self.published()

    def repair(self, files: Iterable[tuple[TileName, bytes]], checkpoint: str) -> None:
        """Write tiles, the checkpoint last."""
        self.publish(files, checkpoint)


@dataclass(frozen=True, slots=True)
class SimulatedDesk:
    """The Desk port over a simulated disk."""

    disk: Disk

    def read(self, path: str) -> bytes:
        """Return a file's bytes."""
        if path not in self.disk.files:
            raise FileNotFoundError(path)
        return self.disk.files[path]

    def write(self, path: str, data: bytes) -> None:
        """Replace a file atomically and durably."""
        self.disk.act("desk.write", lambda: self._keep(path, data))

    def _keep(self, path: str, data: bytes) -> None:
        self.disk.files[path] = data
        self.disk.unflushed.discard(path)

    def digest(self, path: str) -> bytes:
        """Return a file's SHA-256."""
        return sha256(self.read(path))

    def replace(self, source: str, target: str) -> None:
        """Move a finished file into place, durably."""
        data = self.read(source)

        def change() -> None:
            self._keep(target, data)
            del self.disk.files[source]

        self.disk.act("desk.replace", change)

    def remove(self, path: str) -> None:
        """Delete a file if it is there."""
        self.disk.act("desk.remove", lambda: self.disk.files.pop(path, None))

    def name(self, path: str) -> str:
        """Return a path's last part."""
        return path.rsplit("/", 1)[-1]
