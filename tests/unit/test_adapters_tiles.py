"""The log's folder: what readers find is what the log is made of, full tiles replace partial ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from tallystick.adapters import tiles as adapter
from tallystick.adapters.tiles import CHECKED_FILES, FolderTiles
from tallystick.primitives.digests import sha256
from tallystick.receipts.log import TileName, growth, names_of_size
from tallystick.receipts.proofs import LogTree


def publish(tiles: FolderTiles, tree: LogTree, old: int, new: int) -> None:
    tiles.publish(growth(tree, old, new, lambda index: b"entry %d" % index), f"checkpoint of {new}\n")


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def tree() -> LogTree:
    return LogTree(sha256(index.to_bytes(4, "big")) for index in range(600))


@pytest.mark.parametrize("sizes", [[1, 2, 255, 256, 257, 600], [600], [300, 512]])
def test_a_growing_log_ends_with_the_files_of_one_that_was_written_at_once(
    tmp_path: Path, tree: LogTree, sizes: list[int]
) -> None:
    grown, old = FolderTiles(tmp_path / "grown"), 0
    for size in sizes:
        publish(grown, tree, old, size)
        assert grown.published() == f"checkpoint of {size}\n"
        old = size
    wanted = {name.path for name in names_of_size(old)}
    found = files(tmp_path / "grown")
    assert wanted | {"checkpoint"} <= found
    # Partial tiles of the last growths may still lie beside; those of a full tile never do.
    full = {path for path in wanted if ".p/" not in path}
    assert not [path for path in found if path.partition(".p/")[0] in full and ".p/" in path]
    for name, data in growth(tree, 0, old, lambda index: b"entry %d" % index):
        assert (tmp_path / "grown" / name.path).read_bytes() == data


def test_nothing_half_written_stays(tmp_path: Path, tree: LogTree) -> None:
    publish(FolderTiles(tmp_path), tree, 0, 600)
    assert not [path for path in files(tmp_path) if path.endswith(".tmp")]


def test_a_folder_that_was_emptied_while_a_tile_was_partial_is_made_again_by_the_next_home(
    tmp_path: Path, tree: LogTree
) -> None:
    publish(FolderTiles(tmp_path), tree, 0, 10)
    publish(FolderTiles(tmp_path), tree, 10, 300)
    publish(FolderTiles(tmp_path), tree, 300, 301)
    assert (tmp_path / "tile/0/001.p/45").is_file()
    assert not (tmp_path / "tile/0/000.p").exists()


def test_nothing_is_published_at_first(tmp_path: Path) -> None:
    assert FolderTiles(tmp_path / "new").published() is None


# After a power cut.


def mend(tiles: FolderTiles, tree: LogTree, old: int, new: int) -> None:
    tiles.repair(growth(tree, old, new, lambda index: b"entry %d" % index), f"checkpoint of {new}\n")


@pytest.fixture
def grown(tmp_path: Path, tree: LogTree) -> Path:
    """A log that was published at 270, 300 and 600 entries, and never flushed."""
    for old, new in ((0, 270), (270, 300), (300, 515), (515, 600)):
        publish(FolderTiles(tmp_path), tree, old, new)
    return tmp_path


def test_every_torn_file_of_the_right_edge_is_mended(grown: Path, tree: LogTree) -> None:
    right = {path: (grown / path).read_bytes() for path in files(grown)}
    assert {"tile/0/002.p/3", "tile/0/002.p/88", "tile/entries/002.p/3", "tile/1/000.p/1"} <= set(right)
    for number, path in enumerate(right):
        torn = [b"", right[path][:-1], bytes(len(right[path]))][number % 3]
        (grown / path).write_bytes(torn)
    (grown / "tile/0/002.p/89").write_bytes(b"of a size that the ledger never had")
    (grown / "tile/0/002.p/88.tmp").write_bytes(b"half")
    mend(FolderTiles(grown), tree, 0, 600)
    assert {path: (grown / path).read_bytes() for path in files(grown)} == right


def test_what_is_right_is_not_written_again(grown: Path, tree: LogTree) -> None:
    (grown / "tile/0/000").write_bytes(b"torn")
    before = {path: (grown / path).stat().st_ino for path in files(grown)}
    mend(FolderTiles(grown), tree, 0, 600)
    after = {path: (grown / path).stat().st_ino for path in files(grown)}
    assert {path for path, inode in after.items() if before[path] != inode} == {"tile/0/000", "checkpoint"}


def test_a_heap_of_full_tiles_is_flushed_before_its_mark_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[str] = []
    flush = adapter._flush

    def note(path: str) -> None:
        flushed.append(str(Path(path).relative_to(tmp_path)))
        flush(path)

    monkeypatch.setattr(adapter, "_flush", note)
    tree = LogTree(sha256(index.to_bytes(4, "big")) for index in range(32 * 256))
    tiles = FolderTiles(tmp_path)
    publish(tiles, tree, 0, 31 * 256 + 5)
    assert (tiles.durable(), flushed) == (None, [])
    publish(tiles, tree, 31 * 256 + 5, 32 * 256)
    assert tiles.durable() == "checkpoint of 8192\n"
    wanted = {path for path in files(tmp_path) if path not in {"checkpoint", ".durable", "tile/1/000.p/31"}}
    assert set(flushed) - {"tile/1/000.p/31"} == wanted | {
        ".",
        "tile",
        "tile/0",
        "tile/1",
        "tile/1/000.p",
        "tile/entries",
    }
    flushed.clear()
    publish(tiles, tree, 32 * 256, 32 * 256)
    assert flushed == []


def test_what_a_start_checked_it_need_not_check_again(tmp_path: Path) -> None:
    tree = LogTree(sha256(index.to_bytes(4, "big")) for index in range(1024))
    assert CHECKED_FILES == 2 * 1024 // 256
    publish(FolderTiles(tmp_path), tree, 0, 1023)
    mend(FolderTiles(tmp_path), tree, 0, 1023)
    assert FolderTiles(tmp_path).durable() is None
    publish(FolderTiles(tmp_path), tree, 1023, 1024)
    assert FolderTiles(tmp_path).durable() is None
    mend(FolderTiles(tmp_path), tree, 0, 1024)
    assert FolderTiles(tmp_path).durable() == "checkpoint of 1024\n"


def test_tiles_are_read_by_name(grown: Path, tree: LogTree) -> None:
    tiles = FolderTiles(grown)
    assert tiles.read(TileName(0, 1)) == tree.subtree_roots(0, 256, 512)
    assert tiles.read(TileName(0, 1, 7)) is None
