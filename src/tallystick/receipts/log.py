"""The log on the wire: tiles, entry bundles and what a growth writes, by https://c2sp.org/tlog-tiles.

Knows paths and bytes. Refuses to know files and keys: a caller writes what ``growth`` yields, in its order, then the
checkpoint, so that no reader ever sees a checkpoint without its tiles. Specification: docs/spec/log-and-checkpoint.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from tallystick.errors import MalformedError, TooLargeError
from tallystick.primitives.canonical import INTEGER_MAX
from tallystick.primitives.merkle import HASH_SIZE
from tallystick.primitives.notes import Checkpoint
from tallystick.receipts.proofs import LogTree

TILE_WIDTH: Final = 256
TILE_HEIGHT: Final = 8
LEVEL_MAX: Final = 63
ENTRY_BYTES_MAX: Final = 65_535
CHECKPOINT_PATH: Final = "checkpoint"

_PATH: Final = re.compile(
    r"tile/(?P<level>entries|0|[1-9][0-9]?)/(?P<index>(?:x[0-9]{3}/)*[0-9]{3})(?:\.p/(?P<width>[1-9][0-9]{0,2}))?"
)
_LENGTH_SIZE: Final = 2


@dataclass(frozen=True, slots=True)
class TileName:
    """One tile or entry bundle: its level (None for a bundle of entries), index and width in 1 .. 256."""

    level: int | None
    index: int
    width: int = TILE_WIDTH

    def __post_init__(self) -> None:
        """Refuse what the specification has no path for (``MalformedError``)."""
        if self.level is not None and not 0 <= self.level <= LEVEL_MAX:
            raise MalformedError("tile", f"level {self.level} is not within 0 .. {LEVEL_MAX}")
        if not 0 <= self.index <= INTEGER_MAX or not 1 <= self.width <= TILE_WIDTH:
            raise MalformedError(
                "tile", f"index {self.index} or width {self.width} (1 .. {TILE_WIDTH}) is out of range"
            )

    @property
    def partial(self) -> bool:
        """Whether it lies at the right edge and a wider one replaces it later."""
        return self.width < TILE_WIDTH

    @property
    def path(self) -> str:
        """Path below the log's prefix, such as ``tile/0/x001/234`` or ``tile/entries/000.p/17``."""
        groups = [f"{self.index % 1000:03d}"]
        rest = self.index // 1000
        while rest:
            groups.insert(0, f"x{rest % 1000:03d}")
            rest //= 1000
        level = "entries" if self.level is None else str(self.level)
        suffix = f".p/{self.width}" if self.partial else ""
        return f"tile/{level}/{'/'.join(groups)}{suffix}"

    @classmethod
    def parse(cls, path: str) -> TileName:
        """Read a path. Raises ``MalformedError`` for any other spelling (zeros in front, a width of 256, ``..``)."""
        match = _PATH.fullmatch(path) if len(path) <= 64 else None  # noqa: PLR2004 - the longest path is far shorter
        if match is None:
            raise MalformedError("path of a tile", f"{path[:80]!r} is not tile/<level>/<index>[.p/<width>]")
        level = None if match["level"] == "entries" else int(match["level"])
        index = int(match["index"].replace("x", "").replace("/", ""))
        name = cls(level, index, int(match["width"] or TILE_WIDTH))
        if name.path != path:
            raise MalformedError("path of a tile", f"{path!r} must be spelled {name.path!r}")
        return name


def encode_bundle(entries: Sequence[bytes]) -> bytes:
    """Concatenate 1 .. 256 entries, each behind its length as two bytes, big-endian.

    Raises ``TooLargeError`` for an entry above 65,535 bytes, ``ValueError`` for another number of entries.
    """
    if not 1 <= len(entries) <= TILE_WIDTH:
        msg = f"a bundle holds 1 to {TILE_WIDTH} entries, not {len(entries)}"
        raise ValueError(msg)
    parts: list[bytes] = []
    for entry in entries:
        if len(entry) > ENTRY_BYTES_MAX:
            raise TooLargeError("entry", f"{len(entry)} bytes, the limit is {ENTRY_BYTES_MAX}")
        parts += (len(entry).to_bytes(_LENGTH_SIZE, "big"), entry)
    return b"".join(parts)


def parse_bundle(data: bytes, width: int) -> tuple[bytes, ...]:
    """Read exactly ``width`` entries. Raises ``MalformedError`` when the bytes end early, or do not end there."""
    entries: list[bytes] = []
    position = 0
    for _ in range(width):
        start = position + _LENGTH_SIZE
        end = start + int.from_bytes(data[position:start], "big")
        if start > len(data) or end > len(data):
            raise MalformedError("entry bundle", f"it ends within entry {len(entries)} of {width}")
        entries.append(data[start:end])
        position = end
    if position != len(data):
        raise MalformedError("entry bundle", f"{len(data) - position} bytes follow its {width} entries")
    return tuple(entries)


def parse_tile(data: bytes, width: int) -> tuple[bytes, ...]:
    """Read exactly ``width`` hashes of 32 bytes. Raises ``MalformedError`` for another length."""
    if len(data) != width * HASH_SIZE:
        raise MalformedError("tile", f"{len(data)} bytes, {width} hashes have {width * HASH_SIZE}")
    return tuple(data[at : at + HASH_SIZE] for at in range(0, len(data), HASH_SIZE))


def names_of_growth(old_size: int, new_size: int) -> tuple[TileName, ...]:
    """Name the tiles that a log of ``new_size`` has and a log of ``old_size`` lacks, in the order to write them.

    Entry bundles first, then level 0 and up. The last one of a level may be partial; an empty one has no name.
    Raises ``ValueError`` unless 0 <= old_size <= new_size.
    """
    if not 0 <= old_size <= new_size:
        msg = f"a log does not grow from {old_size} to {new_size}"
        raise ValueError(msg)
    names = [TileName(None, index, width) for index, width in _changed(old_size, new_size)]
    level = 0
    while new_size >> TILE_HEIGHT * level:
        shift = TILE_HEIGHT * level
        names += [TileName(level, index, width) for index, width in _changed(old_size >> shift, new_size >> shift)]
        level += 1
    return tuple(names)


def names_of_size(size: int) -> tuple[TileName, ...]:
    """Name all that a reader of a log of this size fetches: full tiles, and partial ones at the right edge."""
    return names_of_growth(0, size)


def growth(
    tree: LogTree, old_size: int, new_size: int, entry: Callable[[int], bytes]
) -> Iterator[tuple[TileName, bytes]]:
    """Yield what to write when a log grows: names with bytes, in the order of ``names_of_growth``.

    ``entry(i)`` gives the bytes of entry i; it is asked from the start of the first bundle that changes.
    Raises ``ValueError`` when the tree is smaller than ``new_size``.
    """
    for name in names_of_growth(old_size, new_size):
        start = name.index * TILE_WIDTH
        if name.level is None:
            yield name, encode_bundle([entry(i) for i in range(start, start + name.width)])
        else:
            yield name, tree.subtree_roots(TILE_HEIGHT * name.level, start, start + name.width)


def head(origin: str, tree: LogTree, size: int | None = None) -> Checkpoint:
    """Return the unsigned checkpoint of the tree at ``size`` (default: all); its ``text()`` is what is signed."""
    size = tree.size if size is None else size
    return Checkpoint(origin, size, tree.root(size))


def _changed(old_count: int, new_count: int) -> Iterator[tuple[int, int]]:
    """Index and width of every tile of one level that changes when its number of hashes grows."""
    if old_count == new_count:
        return
    for index in range(old_count // TILE_WIDTH, (new_count + TILE_WIDTH - 1) // TILE_WIDTH):
        yield index, min(TILE_WIDTH, new_count - index * TILE_WIDTH)
