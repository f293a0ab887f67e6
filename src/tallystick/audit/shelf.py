"""A log as it stands on a shelf: its entries and its tiles, asked for by path, and whether they agree.

Knows C2SP tlog-tiles (docs/spec/log-and-checkpoint.md). Refuses to know where the shelf is, and what entries mean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from tallystick.errors import IncompleteError, MalformedError, VerificationError
from tallystick.primitives.merkle import HASH_SIZE, leaf_hash
from tallystick.primitives.notes import Checkpoint
from tallystick.receipts.log import (
    ENTRY_BYTES_MAX,
    TILE_HEIGHT,
    TILE_WIDTH,
    TileName,
    names_of_size,
    parse_bundle,
    parse_tile,
)
from tallystick.receipts.proofs import LogTree

Fetch = Callable[[str, int], bytes | None]
"""Returns the file at a path below the log's prefix, None where there is none; the number bounds its bytes.

It may raise any ``TallyError`` for a file that cannot be read, above all ``TooLargeError``.
"""

_LENGTH_BYTES = 2


def entries(fetch: Fetch, size: int) -> Iterator[tuple[bytes, ...]]:
    """Yield the first ``size`` entries, bundle by bundle.

    Raises:
        IncompleteError: a bundle is missing.
        MalformedError: one is cut short, or goes on where it should end.
    """
    for index in range(-(-size // TILE_WIDTH)):
        name = TileName(None, index, min(TILE_WIDTH, size - index * TILE_WIDTH))
        shown = _fetch(fetch, name)
        if shown is None:
            lag = f"its tiles lag behind its checkpoint over {size} entries: copy the checkpoint first, then the tiles"
            raise IncompleteError(f"incomplete: the log shows no {name.path}; {lag}")
        actual, data = shown
        try:
            yield parse_bundle(data, actual.width)[: name.width]
        except MalformedError as error:
            raise MalformedError(actual.path, error.detail) from error


def check_root(fetch: Fetch, checkpoint: Checkpoint) -> LogTree:
    """Hash all entries of a checkpoint, and return their tree.

    Raises:
        VerificationError: they do not give its root.
        IncompleteError: an entry bundle is missing.
        MalformedError: one does not parse.
    """
    tree = LogTree()
    for bundle in entries(fetch, checkpoint.size):
        tree.extend(map(leaf_hash, bundle))
    if tree.root() != checkpoint.root:
        expected, actual = checkpoint.root.hex(), tree.root().hex()
        raise VerificationError(f"root of the {checkpoint.size} entries", expected=expected, actual=actual)
    return tree


def check_tiles(fetch: Fetch, tree: LogTree) -> tuple[int, int]:
    """Compare every tile of hashes that is shown with the entries; return how many are shown, of how many.

    Raises:
        VerificationError: a tile holds another hash.
        MalformedError: it has not the length of its width.
    """
    shown, total = 0, 0
    for name in names_of_size(tree.size):
        if name.level is None:
            continue
        total += 1
        found = _fetch(fetch, name)
        if found is not None:
            start = name.index * TILE_WIDTH
            due = tree.subtree_roots(TILE_HEIGHT * name.level, start, start + name.width)
            _check_tile(*found, parse_tile(due, name.width))
            shown += 1
    return shown, total


def _check_tile(name: TileName, data: bytes, due: tuple[bytes, ...]) -> None:
    try:
        hashes = parse_tile(data, name.width)
    except MalformedError as error:
        raise MalformedError(name.path, error.detail) from error
    for at, (expected, actual) in enumerate(zip(due, hashes, strict=False)):
        if actual != expected:
            raise VerificationError(f"hash {at} of {name.path}", expected=expected.hex(), actual=actual.hex())


def _fetch(fetch: Fetch, name: TileName) -> tuple[TileName, bytes] | None:
    """Fetch a tile of this width or, since the log may have grown meanwhile, a wider one that begins alike."""
    for width in dict.fromkeys((name.width, TILE_WIDTH, *range(name.width + 1, TILE_WIDTH))):
        wider = replace(name, width=width)
        bytes_each = HASH_SIZE if name.level is not None else _LENGTH_BYTES + ENTRY_BYTES_MAX
        data = fetch(wider.path, width * bytes_each)
        if data is not None:
            return wider, data
    return None
