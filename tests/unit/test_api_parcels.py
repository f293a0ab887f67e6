"""Output bytes on their way in: whole, in parts, broken off, too many, at a wrong place, and more than memory may hold.

Knows: bodies as chunks, pieces with a file. Refuses to know: HTTP, blobs, and what the bytes are.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tallystick.api.parcels import ROOM, Parcels
from tallystick.errors import AbsentError, ConflictError, MalformedError, StoreError, TallyError, TooLargeError
from tallystick.node.floor import Piece
from tallystick.node.pieces import InputFile, Out
from tallystick.primitives.canonical import encode
from tallystick.primitives.digests import sha256
from tallystick.slicing import plan
from tests.orders import SEED, make_order

SPEC = make_order()
PLAN = plan(SPEC, SEED)
SOURCE = InputFile("nowhere", 0, bytes(32), bytes(16))


class Kept:
    """Stands behind the door: takes pieces in as the exchange does."""

    def __init__(self) -> None:
        self.turns: list[int] = []
        self.bytes: dict[int, bytes] = {}
        self.failure: Exception | None = None
        self.refused: set[int] = set()
        self.called_back = False

    def ticket(self, _ticket: str) -> None:
        if self.called_back:
            raise AbsentError("no such assignment")

    def received_all(self, arrivals: Sequence[tuple[Out, Callable[[int], bytes]]]) -> list[TallyError | None]:
        if arrivals:
            self.turns.append(len(arrivals))
        if self.failure is not None:
            raise self.failure
        return [self._taken(out, read) for out, read in arrivals]

    def received(self, out: Out, read: Callable[[int], bytes]) -> None:
        for refused in self.received_all([(out, read)]):
            if refused is not None:
                raise refused

    def _taken(self, out: Out, read: Callable[[int], bytes]) -> TallyError | None:
        if out.piece.microjob in self.refused:
            return AbsentError("no such assignment")
        blocks = [read(length) for length in out.lengths]
        out.digests = tuple((sha256(block), len(block)) for block in blocks)
        assert out.piece.microjob not in self.bytes
        self.bytes[out.piece.microjob] = b"".join(blocks)
        return None


def piece(folder: Path, index: int = 0) -> Out:
    return Out(
        piece=Piece(SPEC.job_id, 1, index),
        spec=SPEC,
        spelled=encode(SPEC),
        counts=PLAN.layout,
        microjob=PLAN.microjobs[index],
        worker=SPEC.pool[PLAN.microjobs[index].seat].worker,
        source=SOURCE,
        ticket=f"ticket-{index}",
        path=str(folder / f"{index}.part"),
        tell=lambda _fact: None,
    )


def bytes_of(out: Out) -> bytes:
    return bytes(each % 251 for each in range(out.length))


async def chunks(*parts: bytes, then: Exception | None = None) -> AsyncIterator[bytes]:
    for part in parts:
        yield part
        await asyncio.sleep(0)
    if then is not None:
        raise then


def parcels(kept: Kept, **changes: int) -> Parcels:
    exchange: Any = kept
    return Parcels(exchange, **changes)


def test_a_small_piece_comes_in_without_a_file(tmp_path: Path) -> None:
    kept, out = Kept(), piece(tmp_path)
    data = bytes_of(out)
    assert asyncio.run(parcels(kept).take(out, 0, chunks(data[:700], data[700:]))) == len(data)
    assert kept.bytes == {0: data}
    assert list(tmp_path.iterdir()) == []


def test_pieces_that_end_at_one_time_share_a_turn(tmp_path: Path) -> None:
    kept, outs = Kept(), [piece(tmp_path, index) for index in range(5)]

    async def run() -> int:
        desk = parcels(kept)
        await asyncio.gather(*(desk.take(out, 0, chunks(bytes_of(out))) for out in outs))
        return desk.room

    assert asyncio.run(run()) == ROOM
    assert sum(kept.turns) == 5
    assert len(kept.turns) < 5
    assert kept.bytes == {index: bytes_of(out) for index, out in enumerate(outs)}


@pytest.mark.parametrize("changes", [{"gather": 500}, {"room": 0}, {"gather": 1}, {"room": 400}])
def test_what_memory_may_not_hold_gathers_in_a_file_that_goes_when_it_is_whole(
    tmp_path: Path, changes: dict[str, int]
) -> None:
    kept, out = Kept(), piece(tmp_path)
    data = bytes_of(out)
    seen: list[int] = []

    async def watched() -> AsyncIterator[bytes]:
        for start in range(0, len(data), 300):
            yield data[start : start + 300]
            seen.append(out.gathered)

    async def run() -> int:
        desk = parcels(kept, **changes)
        assert await desk.take(out, 0, watched()) == len(data)
        return desk.room

    assert asyncio.run(run()) == changes.get("room", ROOM)
    assert seen[-1] > 0
    assert kept.bytes == {0: data}
    assert list(tmp_path.iterdir()) == []


def test_what_came_before_a_break_counts_and_the_rest_goes_on_from_there(tmp_path: Path) -> None:
    kept, out = Kept(), piece(tmp_path)
    data = bytes_of(out)

    async def run() -> int:
        desk = parcels(kept)
        with pytest.raises(MalformedError):
            await desk.take(out, 0, chunks(data[:900], then=MalformedError("body", "the connection ended")))
        assert out.gathered == 900
        with pytest.raises(ConflictError) as caught:
            await desk.take(out, 0, chunks(data))
        assert caught.value.fact["offset"] == 900
        assert await desk.take(out, 900, chunks()) == 0
        assert await desk.take(out, 900, chunks(data[900:])) == len(data) - 900
        return desk.room

    assert asyncio.run(run()) == ROOM
    assert kept.bytes == {0: data}


def test_a_piece_that_was_called_back_takes_no_other_with_it(tmp_path: Path) -> None:
    kept, outs = Kept(), [piece(tmp_path, index) for index in range(3)]
    kept.refused = {1}

    async def run() -> list[int | BaseException]:
        desk = parcels(kept)
        return await asyncio.gather(*(desk.take(out, 0, chunks(bytes_of(out))) for out in outs), return_exceptions=True)

    answers = asyncio.run(run())
    assert [type(each) for each in answers] == [int, AbsentError, int]
    assert set(kept.bytes) == {0, 2}


def test_a_part_of_a_piece_that_was_called_back_leaves_no_file(tmp_path: Path) -> None:
    kept, out = Kept(), piece(tmp_path)
    kept.called_back = True
    with pytest.raises(AbsentError):
        asyncio.run(parcels(kept, gather=1).take(out, 0, chunks(bytes_of(out))))
    assert list(tmp_path.iterdir()) == []


def test_whoever_still_sends_hears_that_the_piece_was_called_back(tmp_path: Path) -> None:
    kept, out = Kept(), piece(tmp_path)

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(9):
            yield b"x"
        kept.called_back = True
        yield b"x"
        raise AssertionError("it is heard on")

    async def run() -> int:
        desk = parcels(kept)
        with pytest.raises(AbsentError):
            await desk.take(out, 0, endless())
        return desk.room

    assert asyncio.run(run()) == ROOM
    assert list(tmp_path.iterdir()) == []


def test_a_piece_is_delivered_once(tmp_path: Path) -> None:
    kept, out = Kept(), piece(tmp_path)
    data = bytes_of(out)
    other = bytes(out.length)

    async def run() -> list[int | BaseException]:
        desk = parcels(kept)
        both = await asyncio.gather(
            *(desk.take(out, 0, chunks(each)) for each in (data, other)), return_exceptions=True
        )
        with pytest.raises(ConflictError) as caught:
            await desk.take(out, 0, chunks(other))
        assert caught.value.fact["offset"] == out.length
        return both

    first, second = asyncio.run(run())
    assert first == len(data)
    assert isinstance(second, ConflictError)
    assert kept.bytes == {0: data}


def test_a_piece_of_which_a_part_stands_is_not_replaced_by_one_that_came_whole(tmp_path: Path) -> None:
    kept, out = Kept(), piece(tmp_path)
    data = bytes_of(out)

    async def slowly() -> AsyncIterator[bytes]:
        yield data
        await parcels(kept).take(out, 0, chunks(data[:10]))

    with pytest.raises(ConflictError):
        asyncio.run(parcels(kept).take(out, 0, slowly()))
    assert out.gathered == 10
    assert kept.bytes == {}


@pytest.mark.parametrize("gather", [1, 1 << 19])
def test_more_than_a_piece_has_is_refused(tmp_path: Path, gather: int) -> None:
    kept, out = Kept(), piece(tmp_path)
    with pytest.raises(TooLargeError):
        asyncio.run(parcels(kept, gather=gather).take(out, 0, chunks(bytes_of(out), b"x")))
    assert out.gathered in {0, out.length}
    assert kept.bytes == {}


def test_bytes_that_the_disk_refuses_do_not_count(tmp_path: Path) -> None:
    kept, out = Kept(), piece(tmp_path / "gone")
    with pytest.raises(StoreError):
        asyncio.run(parcels(kept, gather=1).take(out, 0, chunks(bytes_of(out))))
    assert out.gathered == 0


@pytest.mark.parametrize("gather", [100, 1 << 19])
def test_a_piece_that_could_not_be_kept_can_be_sent_again(tmp_path: Path, gather: int) -> None:
    kept, out = Kept(), piece(tmp_path)
    kept.failure = StoreError("the disk is full")

    async def run() -> None:
        desk = parcels(kept, gather=gather)
        with pytest.raises(StoreError):
            await desk.take(out, 0, chunks(bytes_of(out)[:150], bytes_of(out)[150:]))
        kept.failure = None
        await desk.take(out, out.gathered, chunks(bytes_of(out)[out.gathered :]))

    asyncio.run(run())
    assert kept.bytes == {0: bytes_of(out)}
