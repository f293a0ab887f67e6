"""Tiles as C2SP tlog-tiles has them; an independent minimal reader rebuilds the root from what a growth wrote."""

from __future__ import annotations

import hashlib
import itertools

import pytest

from tallystick.errors import MalformedError, TooLargeError
from tallystick.primitives.merkle import leaf_hash, root
from tallystick.primitives.notes import Checkpoint
from tallystick.receipts.log import (
    TILE_WIDTH,
    TileName,
    encode_bundle,
    growth,
    head,
    names_of_growth,
    names_of_size,
    parse_bundle,
    parse_tile,
)
from tallystick.receipts.proofs import LogTree

SIZE_MAX = 70_000
ENTRIES = [b"entry %d" % i for i in range(SIZE_MAX)]
LEAVES = [leaf_hash(entry) for entry in ENTRIES]
TREE = LogTree(LEAVES)


def pathof(level: str, index: int, width: int) -> str:
    """The reader's own idea of a path, for indices below 1,000,000."""
    number = f"{index:06d}"
    folder = f"x{number[:3]}/{number[3:]}" if index >= 1000 else number[3:]
    return f"tile/{level}/{folder}" + (f".p/{width}" if width < 256 else "")


def fold(hashes: list[bytes]) -> bytes:
    """Root over hashes that are themselves roots of equal perfect trees, by the definition of RFC 6962."""
    if len(hashes) == 1:
        return hashes[0]
    split = 1 << (len(hashes) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + fold(hashes[:split]) + fold(hashes[split:])).digest()


def read_root(files: dict[str, bytes], size: int) -> bytes:
    """Rebuild the root from the entry bundles alone, checking every tile on the way. Uses nothing of the package."""
    hashes = []
    for index in range((size + 255) // 256):
        width = min(256, size - 256 * index)
        bundle = files[pathof("entries", index, width)]
        position = 0
        for _ in range(width):
            length = int.from_bytes(bundle[position : position + 2], "big")
            hashes.append(hashlib.sha256(b"\x00" + bundle[position + 2 : position + 2 + length]).digest())
            position += 2 + length
        assert position == len(bundle)
    level, edge = 0, []
    while hashes:
        above = []
        for index in range((len(hashes) + 255) // 256):
            tile = hashes[256 * index : 256 * index + 256]
            assert files[pathof(str(level), index, len(tile))] == b"".join(tile)
            if len(tile) == 256:
                above.append(fold(tile))
        edge.append(hashes[256 * len(above) :])
        hashes, level = above, level + 1
    value = None
    for rest in edge:
        rising = [*rest, value] if value is not None else rest
        # A partial tile's hashes are larger subtrees than what lies right of them, so the last one joins first.
        value = fold_edge(rising, value is not None) if rising else value
    return value if value is not None else hashlib.sha256(b"").digest()


def fold_edge(hashes: list[bytes], last_is_smaller: bool) -> bytes:  # noqa: FBT001
    """Join a level's right edge: perfect runs first, then from the right."""
    peaks, start, count = [], 0, len(hashes) - last_is_smaller
    while start < count:
        run = 1 << (count - start).bit_length() - 1
        peaks.append(fold(hashes[start : start + run]))
        start += run
    if last_is_smaller:
        peaks.append(hashes[-1])
    value = peaks.pop()
    while peaks:
        value = hashlib.sha256(b"\x01" + peaks.pop() + value).digest()
    return value


def grown(sizes: list[int]) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for old, new in itertools.pairwise([0, *sizes]):
        files |= {name.path: data for name, data in growth(TREE, old, new, ENTRIES.__getitem__)}
    return files


@pytest.mark.parametrize(
    "sizes",
    [
        [1],
        [255],
        [256],
        [257],
        [1, 2, 3, 255, 256, 257, 511, 512, 513],
        [100, 700, 701, 5000],
        [65_535, 65_536, 65_537],
        [300, 66_000, 70_000],
    ],
)
def test_an_independent_reader_rebuilds_every_published_root(sizes: list[int]) -> None:
    files = grown(sizes)
    for size in sizes:
        assert read_root(files, size) == TREE.root(size)
    assert TREE.root(sizes[-1]) == root(LEAVES[: sizes[-1]])


def test_growth_writes_exactly_what_a_reader_of_the_new_size_lacks() -> None:
    for old, new in itertools.combinations([0, 1, 2, 255, 256, 257, 511, 512, 513, 65_535, 65_536, 65_792, 66_000], 2):
        have, want = set(names_of_size(old)), set(names_of_size(new))
        assert set(names_of_growth(old, new)) == want - have
    assert names_of_growth(77, 77) == ()


def test_the_example_of_the_specification() -> None:
    """70,000 entries: 273 full level 0 tiles and one of 112, one full level 1 tile and one of 17, one level 2 of 1."""
    names = names_of_size(70_000)
    tiles = [name for name in names if name.level is not None]
    assert [name.width for name in tiles if name.level == 0] == [256] * 273 + [112]
    assert [name.width for name in tiles if name.level == 1] == [256, 17]
    assert [name.width for name in tiles if name.level == 2] == [1]
    assert len(tiles) == 274 + 2 + 1
    assert [name.path for name in names_of_size(256)] == ["tile/entries/000", "tile/0/000", "tile/1/000.p/1"]
    assert names_of_size(0) == ()


def test_bundles_come_before_tiles_and_lower_levels_first() -> None:
    levels = [-1 if name.level is None else name.level for name in names_of_growth(200, 70_000)]
    assert levels == sorted(levels)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        (TileName(0, 1_234_067), "tile/0/x001/x234/067"),
        (TileName(63, 0, 1), "tile/63/000.p/1"),
        (TileName(None, 999, 255), "tile/entries/999.p/255"),
        (TileName(None, 1000), "tile/entries/x001/000"),
        (TileName(1, 2**53 - 1, 255), "tile/1/x009/x007/x199/x254/x740/991.p/255"),
    ],
)
def test_paths_read_and_write(name: TileName, path: str) -> None:
    assert name.path == path
    assert TileName.parse(path) == name
    assert name.partial == (".p/" in path)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "tile/0/0",
        "tile/0/00",
        "tile/0/0000",
        "tile/00/000",
        "tile/64/000",
        "tile/-1/000",
        "tile/0/x000/000",
        "tile/0/001/000",
        "tile/0/x001",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/000.p/",
        "tile/0/000/",
        "tile/0/000\n",
        "/tile/0/000",
        "tile/0/../000",
        "tile/entry/000",
        "tile/0/\u0660\u0660\u0660",
        "tile/0/" + "x999/" * 6 + "999",
        "tile/0/" + "x001/" * 2000 + "000",
    ],
)
def test_a_path_with_one_fault_is_malformed(path: str) -> None:
    with pytest.raises(MalformedError):
        TileName.parse(path)


@pytest.mark.parametrize(
    ("level", "index", "width"), [(64, 0, 1), (-1, 0, 1), (0, -1, 1), (0, 0, 0), (0, 0, 257), (0, 2**53, 1)]
)
def test_a_tile_without_a_path_cannot_be_named(level: int, index: int, width: int) -> None:
    with pytest.raises(MalformedError, match="tile"):
        TileName(level, index, width)


def test_bundles_read_and_write() -> None:
    entries = (b"", b"a", b"x" * 65_535)
    data = encode_bundle(entries)
    assert data[:3] == b"\0\0\0"
    assert parse_bundle(data, 3) == entries
    assert parse_bundle(encode_bundle(entries[::-1]), 3) == entries[::-1]
    for width in (2, 4):
        with pytest.raises(MalformedError, match="entry bundle"):
            parse_bundle(data, width)
    for cut in (1, 65_535, 65_536, len(data) - 1):
        with pytest.raises(MalformedError, match="ends within"):
            parse_bundle(data[:-cut], 3)
    with pytest.raises(MalformedError, match="follow"):
        parse_bundle(data + b"\0", 3)


def test_bundles_are_bounded() -> None:
    with pytest.raises(TooLargeError, match="65536 bytes"):
        encode_bundle([b"x" * 65_536])
    for entries in ([], [b""] * (TILE_WIDTH + 1)):
        with pytest.raises(ValueError, match="1 to 256"):
            encode_bundle(entries)


def test_tiles_have_exactly_their_hashes() -> None:
    data = TREE.subtree_roots(0, 0, 3)
    assert parse_tile(data, 3) == tuple(LEAVES[:3])
    for bad, width in ((data[:-1], 3), (data + b"\0", 3), (data, 2), (data, 4), (b"", 1)):
        with pytest.raises(MalformedError, match="tile"):
            parse_tile(bad, width)


def test_a_log_does_not_shrink_and_does_not_invent() -> None:
    for old, new in ((2, 1), (-1, 1)):
        with pytest.raises(ValueError, match="does not grow"):
            names_of_growth(old, new)
    with pytest.raises(ValueError, match="no perfect subtrees"):
        dict(growth(LogTree(LEAVES[:5]), 0, 6, ENTRIES.__getitem__))


def test_the_head_is_the_tree_at_its_size() -> None:
    assert head("log.example/t", TREE, 300) == Checkpoint("log.example/t", 300, TREE.root(300))
    assert head("log.example/t", TREE).size == SIZE_MAX
