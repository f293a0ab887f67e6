"""A power cut tears what was not flushed: the next start mends it, though the checkpoint beside it is the right one."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from tallystick.adapters.tiles import FolderTiles
from tallystick.errors import StoreError
from tallystick.ledger import payloads as say
from tallystick.ledger.transactions import Draft
from tallystick.node.identity import Identity
from tallystick.node.sequencer import Submission
from tallystick.node.solo import SoloEngine
from tallystick.primitives.digests import sha256
from tallystick.primitives.keys import SigningKey
from tallystick.receipts.log import growth
from tallystick.simulation.disk import Disk, SimulatedStore
from tallystick.simulation.world import START, SimulatedClock

IDENTITY: Final = Identity(sha256(b"torn tiles"))
BOB: Final = SigningKey(sha256(b"bob")).address


def engine(disk: Disk, folder: Path) -> SoloEngine:
    parameters = IDENTITY.parameters(IDENTITY.genesis(START))
    return SoloEngine(parameters, SimulatedStore(disk), FolderTiles(folder), SimulatedClock(START + 5))


def pay(book: SoloEngine, count: int) -> None:
    """One block of so many transfers."""
    book.run([Submission(tuple(Draft(IDENTITY.faucet(), say.Transfer(BOB, "1")) for _ in range(count)))])


def wrong(book: SoloEngine, folder: Path) -> list[str]:
    """The files that a reader of the log's current size would find torn or missing."""
    tiles = FolderTiles(folder)
    files = growth(book.tree, 0, book.tree.size, book.entry)
    return [name.path for name, data in files if tiles.read(name) != data]


@pytest.mark.parametrize("torn", ["tile/0/001.p/44", "tile/0/000", "tile/entries/001.p/44", "tile/1/000.p/1"])
def test_a_torn_tile_under_a_matching_checkpoint_is_mended_at_the_next_start(tmp_path: Path, torn: str) -> None:
    disk, folder = Disk(), tmp_path / "log"
    book = engine(disk, folder)
    pay(book, 299)
    assert wrong(book, folder) == []
    whole = (folder / torn).read_bytes()
    for damage in (b"", whole[:-1], bytes(len(whole))):
        (folder / torn).write_bytes(damage)
        assert wrong(book, folder) == [torn]
        assert wrong(engine(disk, folder), folder) == []


def test_what_was_flushed_is_not_looked_at_again(tmp_path: Path) -> None:
    disk, folder = Disk(), tmp_path / "log"
    pay(engine(disk, folder), 2047)
    again = engine(disk, folder)  # checks sixteen full files, and flushes them
    assert FolderTiles(folder).durable() == again.checkpoint()
    (folder / "tile/0/000").write_bytes(b"not by a power cut")
    assert wrong(engine(disk, folder), folder) == ["tile/0/000"]


def test_a_mark_that_the_ledger_does_not_reach_is_refused(tmp_path: Path) -> None:
    disk, folder = Disk(), tmp_path / "log"
    pay(engine(disk, folder), 2047)
    engine(disk, folder)
    (folder / "checkpoint").unlink()
    with pytest.raises(StoreError, match="an older copy"):
        engine(Disk(), folder)
