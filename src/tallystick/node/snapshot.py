"""A snapshot: the folded ledger in pieces, each what the log added since the one before (docs/spec/snapshot.md).

Knows how a piece is spelled and that pieces follow one another. Refuses to know rules and files. A snapshot is only a
shortcut: whoever uses one holds the tree that it gives against the log's checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

import msgspec

from tallystick.errors import MalformedError, TallyError
from tallystick.ledger.block import Tip
from tallystick.ledger.fold import Position
from tallystick.ledger.records import AnyRecord, Record
from tallystick.node.index import KEY_BYTES, Growth, LogIndex
from tallystick.primitives.canonical import Count, DigestHex, encode
from tallystick.primitives.digests import sha256
from tallystick.primitives.merkle import HASH_SIZE
from tallystick.receipts.proofs import LogTree

FORMAT: Final = "tallystick/snapshot/v1"
FIRST: Final = bytes(HASH_SIZE)
"""What the first piece names as the one before."""
_LENGTH_SIZE: Final = 8


class _Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which entries a piece covers, the piece before, and where the ledger stood after the last of them."""

    first: Count
    format: Literal["tallystick/snapshot/v1"]
    header: DigestHex
    height: Count
    previous: DigestHex
    size: Count
    state_root: DigestHex
    time: Count


_HEAD: Final = msgspec.json.Decoder(_Head)
_GROWTH: Final = msgspec.json.Decoder(Growth)
_RECORDS: Final = msgspec.json.Decoder(dict[str, AnyRecord])


@dataclass(slots=True)
class Folded:
    """All that folding the log gave; ``tree`` and ``index`` cover ``position.tree.size`` entries."""

    position: Position
    records: dict[str, Record]
    tree: LogTree = field(default_factory=LogTree)
    index: LogIndex = field(default_factory=LogIndex)


@dataclass(frozen=True, slots=True)
class Kept:
    """How far the snapshot goes, and the digest of its last piece."""

    size: int = 0
    digest: bytes = FIRST


def spell_piece(kept: Kept, folded: Folded, changed: Mapping[str, Record]) -> tuple[Kept, bytes]:
    """Spell what came after a snapshot's last piece; ``changed`` are the records written since then."""
    tip, size = folded.position.tip, folded.position.tree.size
    head = _Head(
        first=kept.size,
        format=FORMAT,
        header=tip.header.hex(),
        height=tip.height,
        previous=kept.digest.hex(),
        size=size,
        state_root=tip.state_root.hex(),
        time=tip.time,
    )
    leaves = folded.tree.subtree_roots(0, kept.size, size)
    keys, growth = folded.index.grown(kept.size)
    parts = encode(head), leaves, keys, encode(growth), encode(changed)
    body = b"".join(piece for part in parts for piece in (len(part).to_bytes(_LENGTH_SIZE, "big"), part))
    digest = sha256(body)
    return Kept(size, digest), digest + body


def restore(folded: Folded, pieces: Iterable[bytes], size: int) -> Kept:
    """Put pieces back, in order, into what was folded over nothing, at most ``size`` entries; return how far they went.

    It ends at the first piece that is damaged or does not follow: what stands before it counts.
    """
    kept = Kept()
    for data in pieces:
        try:
            kept = _put_back(folded, kept, data, size)
        except TallyError:
            break
    return kept


def _put_back(folded: Folded, kept: Kept, data: bytes, limit: int) -> Kept:
    """Put one piece back; nothing of it when it is refused."""
    digest, body = data[:HASH_SIZE], data[HASH_SIZE:]
    if sha256(body) != digest:
        raise MalformedError("snapshot", "its digest is another one")
    try:
        head_part, leaves, keys, growth_part, records_part = _split(memoryview(body))
        head, growth, records = _HEAD.decode(head_part), _GROWTH.decode(growth_part), _RECORDS.decode(records_part)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
        raise MalformedError("snapshot", str(error)) from error
    count = head.size - head.first
    if (head.first, head.previous) != (kept.size, kept.digest.hex()) or not 0 < count <= limit - head.first:
        raise MalformedError("snapshot", f"its entries {head.first} to {head.size} do not follow {kept.size}")
    if (len(leaves), len(keys)) != (count * HASH_SIZE, count * KEY_BYTES):
        raise MalformedError("snapshot", f"it has not the leaves of {count} entries")
    folded.tree.extend_packed(leaves)
    folded.index.extend(head.first, bytes(keys), growth)
    folded.records.update(records)
    tip = Tip(head.height, bytes.fromhex(head.header), bytes.fromhex(head.state_root), head.time)
    folded.position = Position(tip, folded.tree.compact_range())
    return Kept(head.size, digest)


def _split(body: memoryview) -> Iterator[memoryview]:
    while body:
        end = _LENGTH_SIZE + int.from_bytes(body[:_LENGTH_SIZE], "big")
        if end > len(body):
            raise MalformedError("snapshot", "it ends within a part")
        yield body[_LENGTH_SIZE:end]
        body = body[end:]
