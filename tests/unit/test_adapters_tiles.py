"""The log's folder: what readers find is what the log is made of, full tiles replace partial ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from tallystick.adapters.tiles import FolderTiles
from tallystick.primitives.digests import sha256
from tallystick.receipts.log import growth, names_of_size
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
