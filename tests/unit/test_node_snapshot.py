"""Pieces of a snapshot: what is spelled comes back, and whatever is not whole or does not follow counts for nothing."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import pytest

from tallystick.ledger.block import Tip
from tallystick.ledger.fold import Position
from tallystick.ledger.records import Account, Record
from tallystick.node.index import LogIndex
from tallystick.node.snapshot import FIRST, Folded, Kept, restore, spell_piece
from tallystick.primitives.merkle import CompactRange, leaf_hash
from tallystick.receipts.proofs import LogTree

SPEC: Final = Path(__file__).resolve().parents[2] / "docs" / "spec" / "snapshot.md"
ADDRESS: Final = "account/cpc10xcqpzrky6eff2g52qdye53xkk9jxkvr2hadde"


def entry(number: int) -> bytes:
    kind = "BlockHeader" if number % 3 == 2 else "Transfer"
    return json.dumps({"type": kind, "sender": "02", "payload": {"job_id": f"j{number % 2}"}, "n": number}).encode()


def nothing() -> Folded:
    return Folded(Position(Tip(0, bytes(32), bytes(32), 0), CompactRange()), {})


def grown(blocks: int, folded: Folded | None = None) -> Folded:
    """Go on by so many blocks of three entries."""
    held = folded or nothing()
    for number in range(held.tree.size, held.tree.size + 3 * blocks):
        held.tree.append(leaf_hash(entry(number)))
        held.index.note(number, entry(number))
    height = held.tree.size // 3
    held.position = Position(
        Tip(height, sha256(b"%d" % height).digest(), bytes([height]) * 32, 1000 + height), held.tree.compact_range()
    )
    held.records[ADDRESS] = Account(str(height))
    held.records[f"account/{height}"] = Account("1", height)
    return held


def pieces(*blocks: int) -> tuple[Folded, list[bytes]]:
    """A snapshot in pieces of so many blocks."""
    folded, kept, spelled = nothing(), Kept(), list[bytes]()
    for count in blocks:
        before = dict(folded.records)
        grown(count, folded)
        changed: dict[str, Record] = {k: v for k, v in folded.records.items() if before.get(k) != v}
        kept, data = spell_piece(kept, folded, changed)
        folded.index.settle()
        spelled.append(data)
    return folded, spelled


def content(folded: Folded) -> tuple[Any, ...]:
    index = folded.index
    found = [index.find(sha256(entry(number)).digest()) for number in range(folded.tree.size)]
    roots = [folded.tree.root(size) for size in range(folded.tree.size + 1)]
    return folded.position, folded.records, roots, (index.headers, index.jobs, index.nodes, found)


def restored(spelled: list[bytes], limit: int = 1000) -> tuple[Folded, Kept]:
    folded = nothing()
    return folded, restore(folded, spelled, limit)


@pytest.mark.parametrize("blocks", [(1,), (5,), (1, 1, 1), (2, 7, 1, 3)])
def test_what_was_spelled_comes_back(blocks: tuple[int, ...]) -> None:
    folded, spelled = pieces(*blocks)
    back, kept = restored(spelled)
    assert content(back) == content(folded)
    assert kept == Kept(3 * sum(blocks), spelled[-1][:32])
    assert back.index.grown(kept.size) == folded.index.grown(kept.size)
    assert content(grown(2, back)) == content(grown(2, folded))


def test_the_next_piece_after_coming_back_is_the_one_that_would_have_come() -> None:
    folded, spelled = pieces(2, 3)
    back, kept = restored(spelled)
    for each in (folded, back):
        grown(4, each)
    assert spell_piece(kept, back, {"a": Account()}) == spell_piece(kept, folded, {"a": Account()})


def test_every_bit_of_a_piece_counts() -> None:
    _, spelled = pieces(1, 1)
    first, _ = restored(spelled[:1])
    for at in range(len(spelled[1])):
        data = spelled[1][:at] + bytes([spelled[1][at] ^ 4]) + spelled[1][at + 1 :]
        back, kept = restored([spelled[0], data])
        assert (content(back), kept.size) == (content(first), 3)


def respelled(data: bytes, **changes: object) -> bytes:
    """The same piece with another head, and a digest that is right."""
    body = data[32:]
    length = int.from_bytes(body[:8], "big")
    head = json.loads(body[8 : 8 + length]) | changes
    spelled = json.dumps({key: value for key, value in head.items() if value is not None}).encode()
    body = len(spelled).to_bytes(8, "big") + spelled + body[8 + length :]
    return sha256(body).digest() + body


def whole(body: bytes) -> bytes:
    return sha256(body).digest() + body


def test_a_piece_that_is_whole_and_does_not_follow_counts_for_nothing() -> None:
    _, spelled = pieces(1, 1, 1)
    first, _ = restored(spelled[:1])
    assert restored([spelled[0], respelled(spelled[1])])[1].size == 6
    wrong = [
        spelled[0],
        spelled[2],
        respelled(spelled[1], previous=FIRST.hex()),
        respelled(spelled[1], first=2),
        respelled(spelled[1], size=5),
        respelled(spelled[1], size=3),
        respelled(spelled[1], size=2),
        respelled(spelled[1], size=-1),
        respelled(spelled[1], format="tallystick/snapshot/v2"),
        respelled(spelled[1], height=None),
        respelled(spelled[1], extra=1),
        whole(spelled[1][32:-1]),
        whole(spelled[1][32:] + bytes(8)),
        whole(spelled[1][32:] + b"x"),
        whole(b""),
        b"",
        bytes(32),
    ]
    for data in wrong:
        back, kept = restored([spelled[0], data, spelled[2]])
        assert (content(back), kept.size) == (content(first), 3)


@pytest.mark.parametrize(("limit", "size"), [(0, 0), (2, 0), (3, 3), (5, 3), (6, 6), (8, 6), (9, 9)])
def test_pieces_beyond_the_log_are_left(limit: int, size: int) -> None:
    _, spelled = pieces(1, 1, 1)
    back, kept = restored(spelled, limit)
    assert kept.size == back.tree.size == back.position.tree.size == size
    assert content(back) == content(restored(spelled[: size // 3])[0])


def test_a_piece_of_nothing_new_is_refused_on_the_way_back() -> None:
    folded, spelled = pieces(1)
    _, empty = spell_piece(Kept(3, spelled[0][:32]), folded, {})
    assert restored([spelled[0], empty])[1].size == 3


def test_the_example_of_the_specification() -> None:
    """Built here from nothing but the page's words."""
    text = SPEC.read_text(encoding="utf-8")
    _, shown, _, spelled_out, _ = text.split("```\n")
    entries = [line.encode() for line in shown.splitlines()]
    example = bytes.fromhex("".join(spelled_out.split()))
    parts = []
    body = example[32:]
    while body:
        end = 8 + int.from_bytes(body[:8], "big")
        parts.append(body[8:end])
        body = body[end:]
    assert example[:32] == sha256(example[32:]).digest()
    assert parts[1] == b"".join(sha256(b"\0" + each).digest() for each in entries)
    assert parts[2] == b"".join(sha256(each).digest()[:8] for each in entries)
    tree, index = LogTree(), LogIndex()
    for at, each in enumerate(entries):
        tree.append(leaf_hash(each))
        index.note(at, each)
    tip = Tip(1, sha256(entries[-1]).digest(), bytes(32), 1_700_000_000_001)
    folded = Folded(Position(tip, tree.compact_range()), {}, tree, index)
    _, spelled = spell_piece(Kept(), folded, {ADDRESS: Account("5", 1)})
    assert spelled == example
    assert restored([example])[0].records == {ADDRESS: Account("5", 1)}
